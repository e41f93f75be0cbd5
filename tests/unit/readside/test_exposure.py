"""An API that asks for no key: where it may be served."""

import pytest

from readmodel.errors import ConfigurationError
from readside.api import create_app_from_environment
from readside.api_server import listening
from readside.exposure import check_address, check_origins, is_loopback


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True), ("::1%lo", True),
        ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("::ffff:10.0.0.1", False), ("fe80::1%eth0", False),
        ("localhost", False), ("", False),
    ],
)  # fmt: skip
def test_addresses_of_this_machine_alone(address: str, own: bool) -> None:
    """Names are none: they are resolved before."""
    assert is_loopback(address) is own


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1"])
def test_no_key_on_loopback(host: str) -> None:
    """However it is written."""
    with listening(host, 0, "none") as listener:
        assert is_loopback(listener.getsockname()[0])


@pytest.mark.parametrize("host", ["0.0.0.0", "0", "0x0", "::ffff:0.0.0.0"])
def test_no_key_for_everybody(host: str) -> None:
    """Refused before anything listens; said to be meant, it is served."""
    with pytest.raises(ConfigurationError) as caught:
        listening(host, 0, "none")
    listening(host, 0, "none-on-purpose").close()
    listening(host, 0, "keys").close()

    assert str(caught.value).startswith("READSIDE_AUTH=none on ")


def test_no_key_where_the_address_is_not_known() -> None:
    """Under another server nobody knows who is let in."""
    with pytest.raises(ConfigurationError, match=r"^READSIDE_AUTH=none where the address is not known "):
        check_address("none", None)
    check_address("none-on-purpose", None)
    check_address("keys", None)


def test_no_key_under_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """`uvicorn --factory` is refused like that, before anything is opened."""
    monkeypatch.setattr("readside.api.configure", lambda *_: None)  # the log stays as it is
    monkeypatch.setenv("READSIDE_AUTH", "none")
    monkeypatch.setenv("READSIDE_DATABASE_URL", "postgresql://127.0.0.1:1/x")
    monkeypatch.setenv("READSIDE_REDIS_URL", "redis://127.0.0.1:1/0")

    with pytest.raises(ConfigurationError, match=r"^READSIDE_AUTH=none where the address is not known "):
        create_app_from_environment()


@pytest.mark.parametrize("auth", ["none", "none-on-purpose"])
def test_no_key_for_pages_of_every_origin(auth: str) -> None:
    """Not even on purpose: any page could read through whoever visits it."""
    with pytest.raises(ConfigurationError, match=rf"^READSIDE_CORS_ORIGINS=\* with READSIDE_AUTH={auth} "):
        check_origins(auth, ("https://a.example", "*"))
    check_origins(auth, ("https://a.example",))
    check_origins("keys", ("*",))
