"""What uvicorn is told to run the API with."""

import socket
from dataclasses import replace

import pytest

from readmodel.errors import ConfigurationError
from readside.api_server import serve, server_config
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
