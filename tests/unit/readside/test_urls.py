"""URLs: their passwords, wherever they stand and however they are written, and the files that they name."""

from pathlib import Path

import pytest

from readmodel.errors import ConfigurationError
from readside.urls import POSTGRES, REDIS, checked_url, passwords


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql://app:one@db/x", {"one"}),
        ("postgresql+asyncpg://app:one@db/x", {"one"}),
        ("REDISS://:one@cache/0", {"one"}),
        ("postgresql://app:a%2Fb@db/x", {"a%2Fb", "a/b"}),
        ("postgresql://db/x?user=app&password=one", {"one"}),
        ("postgresql://db/x?PASSWORD=one&sslmode=require", {"one"}),
        ("postgresql://db/x?p%61ssword=one", {"one"}),
        ("postgresql://app:one@db/x?sslpassword=2%203+4", {"one", "2%203+4", "2 3+4", "2 3 4"}),
        ("rediss://cache/0?ssl_password=two&password=one", {"one", "two"}),
        ("unix:///run/redis.sock?password=one%2B", {"one%2B", "one+"}),
        ("redis://cache/0?password=one#two", {"one", "one#two"}),
        ("postgresql:///x?host=/run&password=", set()),
        ("postgresql://app@db/x?passfile=/home/app/.pgpass&sslkey=/key&user=app", set()),
        ("redis://cache/0", set()), ("", set()), ("nonsense?password=one", {"one"}),
    ],
)  # fmt: skip
def test_passwords(url: str, found: set[str]) -> None:
    """As they are written and as they are meant: a log may have either."""
    assert passwords(url) == found


@pytest.mark.parametrize("name", ["sslrootcert", "ssl_ca_certs", "sslcert", "sslkey", "ssl_certfile", "ssl_keyfile"])
def test_a_file_for_tls_that_is_not_there(name: str) -> None:
    """Told at the start: later it would look as if the server were away."""
    with pytest.raises(ConfigurationError) as caught:
        checked_url(f"rediss://:one@cache/0?{name}=/no/where", "READSIDE_REDIS_URL", REDIS)

    assert str(caught.value) == (
        f"READSIDE_REDIS_URL names a file for {name} that cannot be read: no such file or directory."
    )


def test_a_file_for_tls_that_holds_no_certificate(tmp_path: Path) -> None:
    """Nobody would be trusted."""
    (tmp_path / "file").write_text("nonsense")

    with pytest.raises(ConfigurationError, match=r"names a file for sslrootcert that holds no certificate\.$"):
        checked_url(f"postgresql://db/x?sslrootcert={tmp_path / 'file'}", "READSIDE_DATABASE_URL", POSTGRES)
