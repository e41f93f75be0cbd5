"""The guide "A browser dashboard for one session": every block of it as it stands there, with real processes."""

import asyncio
import os
import re
import signal
import stat
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import httpx
import playwright
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from readside.demo.processes import free_port
from tests.browser.browsing import tab
from tests.browser.service import Service
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "specs" / "guides" / "browser-dashboard.md"
NODE = Path(playwright.__file__).parent / "driver" / "node"
"""Playwright brings its own."""
API_PORT, BACKEND_PORT = "8000", "3000"
"""Those of the guide."""


class Block(NamedTuple):
    """A block of the guide: the section that it stands in, its language, its text."""

    section: str
    language: str
    text: str


def blocks() -> list[Block]:
    """All of them, but the picture."""
    found = []
    for section in re.split(r"^## ", GUIDE.read_text(), flags=re.MULTILINE)[1:]:
        for language, text in re.findall(r"^```(\w+)\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
            found.append(Block(section.partition("\n")[0], language, text))
    return found


(
    SETTINGS, API, BACKEND, START_BACKEND, NODE_BACKEND, COMMAND, PAGE, LINK, KEY_PAIR, API_OF_KEYS, KEY_BACKEND,
) = blocks()  # fmt: skip


@dataclass
class Site:
    """A directory with the guide's files, in which its commands are run."""

    at: Path
    service: Service
    session_id: str
    api_port: int = field(default_factory=free_port)
    backend_port: int = field(default_factory=free_port)

    @property
    def api(self) -> str:
        """The API's address."""
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def backend(self) -> str:
        """The backend's."""
        return f"http://127.0.0.1:{self.backend_port}"

    def written(self, block: Block) -> str:
        """The block with ports and a session of the test."""
        text = block.text.replace("<title>", '<link rel="icon" href="data:,"><title>')
        text = re.sub(rf"\b{API_PORT}\b", str(self.api_port), text)
        return re.sub(rf"\b{BACKEND_PORT}\b", str(self.backend_port), text).replace('"SESSION"', f'"{self.session_id}"')

    def save(self, name: str, block: Block) -> None:
        """Save a block as a file."""
        (self.at / name).write_text(self.written(block))

    @property
    def environment(self) -> dict[str, str]:
        """What a shell of the guide's reader knows."""
        own = {f"READSIDE_{name}": value for name, value in self.service.site.settings.items()}
        paths = {"PATH": f"{self.at / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(self.at)}
        return own | paths | {"SESSION": self.session_id, "READSIDE_API_KEYS": "pager:a-key-of-operators:ops"}

    async def ran(self, *command: str) -> str:
        """What a command prints."""
        process = await asyncio.create_subprocess_exec(
            *command, cwd=self.at, env=self.environment, stdout=PIPE, stderr=PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, err.decode()
        return out.decode().strip()

    async def shell(self, block: Block) -> str:
        """What a block of the shell prints."""
        return await self.ran("bash", "-eu", "-c", self.written(block))

    @asynccontextmanager
    async def serving(self, block: Block, url: str) -> AsyncIterator[None]:
        """Run a block that serves, until it does."""
        log = (self.at / "log").open("ab")
        process = await asyncio.create_subprocess_exec(
            "bash", "-eu", "-c", self.written(block), cwd=self.at, env=self.environment, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            await eventually(lambda: _answers(url), f"{url} answers: {self.at / 'log'}")
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            await asyncio.wait_for(process.wait(), 30)
            log.close()

    async def status(self, token: str, session_id: str, **headers: str) -> int:
        """What a poll with this token is answered."""
        async with httpx.AsyncClient(
            verify=False, base_url=self.api, headers={"authorization": f"Bearer {token}"}
        ) as client:
            return (await client.get(f"/api/v2/sessions/{session_id}/events", headers=headers)).status_code


async def _answers(url: str) -> bool:
    with suppress(httpx.TransportError):
        async with httpx.AsyncClient(verify=False) as client:  # asked again and again, and nothing is encrypted
            return (await client.get(url)).status_code == 200
    return False


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`readside` as an installation has it, and `uvicorn` in the guide's `env`, both of this very environment."""
    at = tmp_path_factory.mktemp("guide")
    for name, program in (("readside", at / "bin/readside"), ("uvicorn", at / "env/bin/uvicorn")):
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m {name} "$@"\n')
        program.chmod(0o755)
    return at


def prepared(at: Path, service: Service, session_id: str, **ports: int) -> Site:
    """The guide's files for a session."""
    made = Site(at, service, session_id, **ports)
    made.save("readside.env", SETTINGS)
    made.save("backend.py", BACKEND)
    made.save("dashboard.html", PAGE)
    made.save("tokens.mjs", NODE_BACKEND)
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ports(programs: Path, service: Service) -> AsyncIterator[dict[str, int]]:
    """Those of the guide's API, which serves all these tests, and of the backend that it names."""
    made = prepared(programs, service, await service.session())
    async with made.serving(API, f"{made.api}/health/live"):
        yield {"api_port": made.api_port, "backend_port": made.backend_port}


@pytest_asyncio.fixture(loop_scope="session")
async def site(programs: Path, service: Service, ports: dict[str, int]) -> Site:
    """The guide's files, and its API."""
    return prepared(programs, service, await service.session(2), **ports)


async def test_every_block_is_run() -> None:
    """In the languages that the guide has; a new block needs a place above."""
    languages = [block.language for block in blocks()]

    assert languages == ["sh", "sh", "python", "sh", "js", "sh", "html", "sh", "python", "sh", "python"]
    assert GUIDE.read_text().count("\n```") == 2 * len(languages) + 2  # and the picture


async def test_the_dashboard_shows_the_session_and_goes_on_when_its_token_ends(site: Site, browser: Browser) -> None:
    """With tokens of seconds in place of minutes: the page never shows one that has ended.

    Who is not signed in gets no token: the page stops, and says so.
    """
    text = (site.at / "backend.py").read_text()
    assert text.count("now + 300") == 1
    (site.at / "backend.py").write_text(text.replace("now + 300", "now + 8"))
    async with (
        site.serving(START_BACKEND, site.backend),
        tab(browser) as opened,
        tab(browser) as stranger,
    ):
        stranger.expected.append("403")
        await stranger.page.goto(site.backend)
        await opened.page.context.add_cookies([{"name": "user", "value": "ada", "url": site.backend}])
        statuses: list[int] = []
        opened.page.on(
            "response", lambda answer: statuses.append(answer.status) if "/sessions/" in answer.url else None
        )
        shown: set[str] = set()
        opened.page.on("request", lambda asked: shown.add(asked.headers.get("authorization", "")))
        await opened.page.goto(site.backend)
        await expect(opened.page.locator("li")).to_have_count(2)
        await eventually(lambda: len(shown - {""}) >= 3, "three tokens")
        await site.service.add(site.session_id, 3)
        await expect(opened.page.locator("li")).to_have_count(5)
        await expect(opened.page.locator("#state")).to_contain_text("running, as of 20")
        await expect(stranger.page.locator("#state")).to_have_text("stopped: There are no more tokens.")

    assert set(statuses) <= {200, 204, 304}


async def test_each_way_to_mint_gives_a_token_that_reads_this_session_alone(site: Site) -> None:
    """Python, Node and the command; what it may not do is what the guide's table says."""
    other = await site.service.session(1)
    script = "import sys; from backend import token_for; print(token_for('ada', sys.argv[1:]))"
    by_node = "import('./tokens.mjs').then(({ tokenFor }) => console.log(tokenFor('ada', process.argv.slice(1))))"
    sourced = 'set -a; . ./readside.env; exec "$@"'
    tokens = [
        await site.ran("bash", "-c", sourced, "-", sys.executable, "-c", script, site.session_id),
        await site.ran("bash", "-c", sourced, "-", str(NODE), "-e", by_node, site.session_id),
        await site.shell(COMMAND),
    ]
    for token in tokens:
        assert await site.status(token, site.session_id) == 200
        assert await site.status(token, other) == 403
        assert await site.status(token, "00000000-0000-0000-0000-000000000000") == 403
        assert await site.status(token, site.session_id, **{"readside-max-staleness": "0"}) == 403
        async with httpx.AsyncClient(
            verify=False, base_url=site.api, headers={"authorization": f"Bearer {token}"}
        ) as client:
            assert (await client.post(f"/api/v2/sessions/{site.session_id}/warm")).status_code == 202
            assert (await client.get("/api/v2/projection")).status_code == 403
            assert (await client.get("/api/v2/projection/sessions")).status_code == 403


async def test_the_link_opens_the_console_at_the_session(site: Site, browser: Browser) -> None:
    """And the address is clean."""
    async with tab(browser) as opened:
        link = await site.shell(LINK)
        await opened.page.goto(link)
        await expect(opened.page.locator("#events > li")).to_have_count(2)

    assert link.startswith(f"{site.api}/#token=ey")
    assert opened.page.url == f"{site.api}/#session={site.session_id}"


async def test_a_backend_with_a_key_pair_of_its_own(site: Site) -> None:
    """The API holds the public key alone, and the private one is for its owner."""
    site = replace(site, api_port=free_port())
    (site.at / "keys.py").write_text(site.written(KEY_PAIR))
    (site.at / "minting.py").write_text(site.written(KEY_BACKEND))
    await site.ran(sys.executable, "keys.py")
    script = "import sys; from minting import token_for; print(token_for('ada', sys.argv[1:]))"
    async with site.serving(API_OF_KEYS, f"{site.api}/health/live"):
        token = await site.ran(sys.executable, "-c", script, site.session_id)
        statuses = [await site.status(token, each) for each in (site.session_id, await site.service.session())]

    assert statuses == [200, 403]
    assert stat.S_IMODE((site.at / "signing-key.pem").stat().st_mode) == 0o600
    assert '"d"' not in (site.at / "jwks.json").read_text()
