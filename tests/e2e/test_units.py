"""The units of deploy/systemd: what systemd itself says of them, and both processes under what they allow."""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.support.commanding import Site
from tests.support.keys import HEADERS, KEY
from tests.support.projecting import Writer
from tests.support.servers import connected
from tests.support.signing import claims, ed25519, key_set
from tests.support.waiting import eventually

SYSTEMD = Path(__file__).parents[2] / "deploy" / "systemd"
PROJECTOR, API = SYSTEMD / "readside-projector.service", SYSTEMD / "readside-api@.service"
MOST_EXPOSED = 1.5
"""What `systemd-analyze security` may count, of 10. It counts 1.2 in systemd 252; other versions count other things."""
CONFINEMENT = (sys.executable, "-m", "tests.support.confinement")


@pytest.fixture(params=[PROJECTOR, API], ids=lambda path: path.name)
def unit(request: pytest.FixtureRequest) -> Path:
    """Each unit."""
    path: Path = request.param
    return path


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask systemd; none need run. `make install-tools` brings the program."""
    return subprocess.run(["systemd-analyze", "--no-pager", *arguments], capture_output=True, check=False, text=True)


def verified(path: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Have systemd read a unit, whose program is one that is on this machine."""
    path.write_text(re.sub(r"^(ExecStart=)\S+", r"\1/bin/true", text, flags=re.MULTILINE))
    return analyze("verify", "--man=no", "--recursive-errors=no", str(path))


def test_systemd_knows_every_line(unit: Path, tmp_path: Path) -> None:
    """Names and values alike."""
    said = verified(tmp_path / unit.name.replace("@.", "@8000."), unit.read_text())

    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_a_line_that_systemd_does_not_know_is_found(tmp_path: Path) -> None:
    """A misspelt setting would be ignored at the start, with a line in the journal."""
    said = verified(tmp_path / "a.service", PROJECTOR.read_text().replace("DynamicUser", "DynamikUser"))

    assert "'DynamikUser'" in said.stderr


def test_little_of_the_machine_is_exposed(unit: Path) -> None:
    """By systemd's own measure, from 0 to 10."""
    said = analyze("security", "--offline=yes", f"--threshold={int(MOST_EXPOSED * 10)}", str(unit))

    assert said.returncode == 0, said.stdout


@pytest.mark.parametrize(
    "deed",
    [
        "import os; os.setpriority(os.PRIO_PROCESS, 0, 5)",
        "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)",
        "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    ],
    ids=["a system call", "memory for code", "a family of addresses"],
)
def test_what_a_unit_does_not_allow_fails(unit: Path, deed: str) -> None:
    """So the tests below run under something."""
    command = [*CONFINEMENT, str(unit), sys.executable, "-c", deed]
    said = subprocess.run(command, capture_output=True, check=False, text=True)

    assert said.returncode == 1
    assert "Operation not permitted" in said.stderr


def confined(site: Site, unit: Path) -> Site:
    """The same, whose processes run under what a unit allows."""
    return site.started_by(*CONFINEMENT, str(unit), *site.program)


async def test_both_processes_do_with_what_their_units_allow(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """Event loop, both stores, hashes, signatures: libraries in C want no call and no memory that is refused."""
    signer, keys = ed25519(), tmp_path / "keys.json"
    keys.write_bytes(key_set(signer))
    site = Site.of(database_url, redis_url, API_KEYS=f"test:{KEY}", JWT_JWKS=str(keys))
    await site.install()
    async with confined(site, PROJECTOR).projector() as projector, connected(database_url) as connection:
        await projector.says("live")
        session_id = await Writer(connection).session()
        token = {"authorization": f"Bearer {signer.token(claims(session_id)).decode()}"}
        async with confined(site, API).api() as client:

            async def from_redis(headers: dict[str, str]) -> bool:
                answer = await client.get(f"/api/v2/sessions/{session_id}/events", headers=headers)
                return answer.status_code == 200 and answer.headers["readside-source"] != "postgres"

            await eventually(partial(from_redis, HEADERS), "the view answers who has a key")
            await eventually(partial(from_redis, token), "the view answers who has a token")
        await projector.stop()
