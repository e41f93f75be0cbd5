"""What the demo says of its first value, and when it does not know."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from readside.demo import service
from readside.demo.announcer import Announcer
from readside.demo.options import DemoOptions
from readside.demo.service import DemoService
from readside.demo.watch import DemoAnswer

SESSION = "11111111-2222-4333-8444-555555555555"


async def said(headers: dict[str, str] | None) -> str:
    """What it says where polls send these headers; None: only the user knows them."""
    output = io.StringIO()
    demo = object.__new__(DemoService)
    access = SimpleNamespace(headers=lambda _: headers)
    demo.__dict__.update(
        _say=Announcer(Console(file=output, width=200)), _port=1, _setup=SimpleNamespace(access=access)
    )
    await demo._see_an_event(SESSION)
    return output.getvalue()


def test_a_demo_uses_no_server_of_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever the environment says of where theirs are, and of how libpq's programs reach them."""
    for name in ("DATABASE_URL", "LISTEN_URL", "REDIS_URL", "REPLICA_URLS"):
        monkeypatch.delenv(f"READSIDE_{name}", raising=False)
        monkeypatch.setenv(f"READSIDE_{name}_FILE", "/theirs")
    monkeypatch.setenv("READSIDE_REPLICA_URLS", "postgresql://theirs")
    monkeypatch.setattr(
        service, "DemoProgram", lambda name, *_, environment, **__: SimpleNamespace(name=name, environment=environment)
    )
    access = SimpleNamespace(settings=dict)
    setup = SimpleNamespace(
        announcer=None, options=DemoOptions(1), home=tmp_path, access=access, settings=SimpleNamespace(allowed_hosts="")
    )
    server = SimpleNamespace(name="", port=1, child=None, url=lambda: "postgresql://127.0.0.1:1/own")
    made = DemoService(setup, server, server)  # type: ignore[arg-type]

    for program in made._programs:
        told = {name: value for name, value in program.environment.items() if name.startswith("READSIDE_")}  # type: ignore[attr-defined]
        assert "theirs" not in str(told)
        assert told["READSIDE_DATABASE_URL"].endswith("/own?sslmode=disable&target_session_attrs=any")


async def test_a_first_value_is_one_that_a_poll_showed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one before an event, and not one by PostgreSQL, which shows nothing of the view."""
    answers = [
        DemoAnswer(0, {}, b""),
        DemoAnswer(200, {"readside-source": "redis"}, b'{"items":[]}'),
        DemoAnswer(200, {"readside-source": "postgres"}, b'{"items":[{}]}'),
        DemoAnswer(200, {"readside-source": "memory"}, b'{"items":[{}]}'),
    ]

    async def get(port: int, path: str, headers: dict[str, str]) -> DemoAnswer:
        assert headers == {"X-API-Key": "key"}
        return answers.pop(0)

    monkeypatch.setattr(service, "get", get)

    assert "First value: a poll shows an event" in await said({"X-API-Key": "key"})
    assert answers == []


async def test_where_nobody_can_poll_no_poll_showed_anything() -> None:
    """The user alone knows keys and tokens."""
    told = await said(None)

    assert "First value" not in told
    assert "only you can poll here" in told
