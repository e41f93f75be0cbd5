"""What uvicorn is told to run the API with."""

import asyncio
import signal
import socket
from dataclasses import replace

import pytest
import uvicorn

from readmodel.errors import ConfigurationError
from readside import background
from readside.api_server import run, serve, server_config
from readside.settings import Settings
from tests.support.builders import API, socket_bounds

CONFIG = API


@pytest.mark.parametrize(("idle_seconds", "kept_seconds"), [(75.0, 75), (60.5, 61), (1.0, 1)])
def test_idle_connections_are_kept_as_long_as_the_setting_says(idle_seconds: float, kept_seconds: int) -> None:
    """Uvicorn counts whole seconds: rather a little longer than shorter than a proxy's pool."""
    config = replace(CONFIG, sockets=socket_bounds(idle_seconds=idle_seconds))

    assert server_config(config, Settings()).timeout_keep_alive == kept_seconds


@pytest.mark.parametrize("url", ["redis://h/0", "redis+cluster://h:1,i:2", "redis+sentinel://h:1,i:2/service/0"])
def test_an_api_starts_with_every_kind_of_redis(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stops this one is that its port is taken, of which it hears last."""
    monkeypatch.setenv("READSIDE_DATABASE_URL", "postgresql://nowhere/x")
    monkeypatch.setenv("READSIDE_REDIS_URL", url)
    monkeypatch.setenv("READSIDE_API_KEYS", "name:a-key-that-is-long-enough")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1, port {port}"):
            serve(port=port)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_server_listens_to_any_is_not_lost(number: int) -> None:
    """Uvicorn takes its own handlers some milliseconds later."""

    class Early(uvicorn.Server):
        def run(self, sockets: list[socket.socket] | None = None) -> None:
            assert sockets == []
            signal.raise_signal(number)

    before = {taken: signal.getsignal(taken) for taken in (signal.SIGINT, signal.SIGTERM)}
    server = Early(server_config(CONFIG, Settings()))
    try:
        run(server, [])
    finally:
        for taken, handler in before.items():
            signal.signal(taken, handler)

    assert server.should_exit


def test_an_api_of_which_a_part_failed_ends_as_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever restarts what failed restarts it."""
    monkeypatch.setenv("READSIDE_DATABASE_URL", "postgresql://nowhere/x")
    monkeypatch.setenv("READSIDE_REDIS_URL", "redis://nowhere/0")
    monkeypatch.setenv("READSIDE_API_KEYS", "name:a-key-that-is-long-enough")

    async def fail() -> None:
        raise ZeroDivisionError("a bug")

    async def part() -> None:
        await asyncio.wait([background.start(fail())])
        await asyncio.sleep(0)

    monkeypatch.setattr("readside.api_server.run", lambda *_: asyncio.run(part()))
    monkeypatch.setattr(signal, "raise_signal", lambda _: None)
    monkeypatch.setattr(background, "_failures", [])

    with pytest.raises(SystemExit, match="1"):
        serve(port=0)
