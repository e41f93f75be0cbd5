"""What deploy/systemd promises, against the code; tests/e2e/test_units.py asks systemd, and runs what it allows."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from readside.api_server import DRAIN_SECONDS
from readside.cli import app
from readside.descriptors import OWN_DESCRIPTORS, places
from readside.settings import PREFIX, Settings, unknown_variables
from tests.support.builders import socket_bounds
from tests.support.confinement import settings_of

ROOT = Path(__file__).parents[2]
SYSTEMD = ROOT / "deploy" / "systemd"
GUIDE = (ROOT / "specs/operate/systemd.md").read_text()
PROGRAM = "/opt/readside/bin/readside"
PROJECTOR, API = SYSTEMD / "readside-projector.service", SYSTEMD / "readside-api@.service"
UNITS = (PROJECTOR, API)
SECRET = {
    "database-url": "postgresql://readside:secret@db.example/app",
    "redis-url": "redis://readside-api:secret@cache.example:6379/0",
    "api-keys.json": '[{"name": "dashboard", "key": "a-long-random-key"}]',
}


@pytest.fixture(params=UNITS, ids=lambda path: path.name)
def unit(request: pytest.FixtureRequest) -> Path:
    """Each unit."""
    path: Path = request.param
    return path


def sections(unit: Path) -> list[str]:
    """The sections of a unit, in their order."""
    return re.findall(r"^\[(\w+)\]$", unit.read_text(), re.MULTILINE)


def variables(unit: Path) -> dict[str, str]:
    """The variables that a unit sets."""
    return dict(entry.split("=", 1) for entry in settings_of(unit)["Environment"])


def test_both_units_are_confined_alike() -> None:
    """From the line that says who runs it on."""
    confinements = [path.read_text().split("\nDynamicUser=", 1)[1].split("\n[Install]")[0] for path in UNITS]

    assert confinements[0] == confinements[1]
    assert sections(PROJECTOR) == sections(API) == ["Unit", "Service", "Install"]


def test_the_command_is_one_of_ours(unit: Path) -> None:
    """With options that it has."""
    (started,) = settings_of(unit)["ExecStart"]
    program, command, *arguments = started.replace("%i", "8000").split()
    found: Any = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]  # it is a group
    context = found.make_context(command, arguments)

    assert program == PROGRAM
    assert context.params.get("port", 8000) == 8000


def test_the_settings_are_accepted(unit: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each variable is a setting, each file a credential that is loaded, and together they make a config."""
    for name, text in SECRET.items():
        (tmp_path / name).write_text(text)
    for variable in [variable for variable in os.environ if variable.startswith(PREFIX)]:
        monkeypatch.delenv(variable)
    for variable, value in variables(unit).items():
        monkeypatch.setenv(variable, value.replace("%d", str(tmp_path)))
    settings = Settings()
    configs: dict[Path, Callable[[], object]] = {API: settings.api_config, PROJECTOR: settings.projector_config}
    loaded = {entry.partition(":")[0] for entry in settings_of(unit)["LoadCredential"]}

    assert unknown_variables() == {}
    assert {path.name for path in settings.secret_files().values()} == loaded
    assert configs[unit]()


def test_no_secret_is_in_a_unit(unit: Path) -> None:
    """Everybody may read units, and a process' environment is shown to whoever may ask systemd."""
    named = {name for name in variables(unit) if re.search("URL|KEYS|SECRET", name)}

    assert all(name.endswith("_FILE") for name in named)
    assert all(variables(unit)[name].startswith("%d/") for name in named)


def test_the_guide_makes_each_file_that_is_loaded(unit: Path) -> None:
    """As root's, for nobody else to read."""
    files = {entry.partition(":")[2] for entry in settings_of(unit)["LoadCredential"]}
    made = re.findall(r"^install -m 600 \S+ (/etc/readside/\S+)$", GUIDE, re.MULTILINE)

    assert files <= set(made)


def test_it_is_started_again_whatever_ended_it(unit: Path) -> None:
    """And never given up."""
    settings = settings_of(unit)

    assert settings["Restart"] == ["always"]
    assert settings["StartLimitIntervalSec"] == ["0"]
    assert re.fullmatch(r"[1-9]\d*s", settings["RestartSec"][0])


def test_it_has_the_time_that_its_end_takes(unit: Path) -> None:
    """Polls in flight are answered, and there is as much time again."""
    assert int(settings_of(unit)["TimeoutStopSec"][0].removesuffix("s")) >= 2 * DRAIN_SECONDS


def test_the_api_may_open_as_many_files_as_it_may_have_connections() -> None:
    """Those of clients by default, and its own."""
    own = OWN_DESCRIPTORS + Settings.model_fields["fallback_concurrency"].default

    assert places(10**6, int(settings_of(API)["LimitNOFILE"][0]), own) >= socket_bounds().max_connections


def test_files_that_the_guide_installs_exist() -> None:
    """Each unit is named in it."""
    named = set(re.findall(r"deploy/systemd/[\w@.-]+", GUIDE))

    assert {str(path.relative_to(ROOT)) for path in UNITS} <= named
    assert all((ROOT / name).is_file() for name in named)


def test_no_api_of_the_guide_takes_the_projectors_port() -> None:
    """Whichever of the two came second would end, and be started again for ever."""
    ports = set(re.findall(r"readside-api@(\d+)", GUIDE))

    assert ports
    assert variables(PROJECTOR)["READSIDE_PROJECTOR_PORT"] not in ports
