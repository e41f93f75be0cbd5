"""What uvicorn is told to run the API with."""

from dataclasses import replace

import pytest

from query_api.config import ApiConfig
from query_api.doorway.bounds import SocketBounds
from readside.api_server import server_config
from readside.settings import Settings

CONFIG = ApiConfig("postgresql://nowhere", "redis://nowhere")


@pytest.mark.parametrize(("idle_seconds", "kept_seconds"), [(75.0, 75), (60.5, 61), (1.0, 1)])
def test_idle_connections_are_kept_as_long_as_the_setting_says(idle_seconds: float, kept_seconds: int) -> None:
    """Uvicorn counts whole seconds: rather a little longer than shorter than a proxy's pool."""
    config = replace(CONFIG, sockets=SocketBounds(idle_seconds=idle_seconds))

    assert server_config(config, Settings()).timeout_keep_alive == kept_seconds
