"""The port of the projector's own health and metrics: why it cannot be had."""

import re
import socket

import pytest

from projector.health import _listening, serve
from projector.telemetry import Telemetry
from readmodel.errors import ConfigurationError


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("203.0.113.1", "cannot assign requested address"),
        ("a..b", "no name of a host"),
        ("x" * 70, "no name of a host"),
    ],
)
async def test_an_address_that_cannot_be_had(host: str, reason: str) -> None:
    """The reason is the system's: the port is not taken."""
    with pytest.raises(ConfigurationError) as caught:
        await serve(Telemetry(), host, 1)

    assert str(caught.value) == f"READSIDE_PROJECTOR_PORT 1 on {host} cannot be served: {reason}."


async def test_a_port_that_is_taken() -> None:
    """By whoever listens there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(ConfigurationError, match=re.escape(f"{port} on 127.0.0.1 cannot be served: address al")):
            await serve(Telemetry(), "127.0.0.1", port)


async def test_a_host_with_an_address_of_a_family_that_the_kernel_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `localhost` has one where IPv6 is off: it is served on the others."""
    with socket.create_server(("127.0.0.1", 0)) as found_free:
        port = found_free.getsockname()[1]
    lacking = (27, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0))  # InfiniBand's
    here = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
    monkeypatch.setattr("projector.health.socket.getaddrinfo", lambda *_, **__: [lacking, here])

    listeners = _listening("localhost", port)

    assert [each.getsockname() for each in listeners] == [("127.0.0.1", port)]
    for each in listeners:
        each.close()
