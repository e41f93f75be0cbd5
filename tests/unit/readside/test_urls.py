"""URLs: their passwords, wherever they stand and however they are written, and the files that they name."""

from pathlib import Path

import pytest

from readmodel.errors import ConfigurationError
from readside.settings import Settings
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


@pytest.mark.parametrize(
    "scheme", ["postgresql", "postgres", "postgresql+asyncpg", "postgres+asyncpg", "postgresql+psycopg2"]
)
def test_the_schemes_of_postgres(scheme: str) -> None:
    """`postgresql+asyncpg://` is what SQLAlchemy's users have."""
    url = f"{scheme}://app:one@db/x"

    assert checked_url(url, "READSIDE_DATABASE_URL", POSTGRES) == url


@pytest.mark.parametrize("url", ["postgresql+other://db/x", "mysql://db/x", "redis://db/0", "db/x"])
def test_another_scheme(url: str) -> None:
    """Named with what is understood."""
    with pytest.raises(ConfigurationError) as caught:
        checked_url(url, "READSIDE_DATABASE_URL", POSTGRES)

    assert str(caught.value) == (
        "READSIDE_DATABASE_URL must begin with postgresql:// or postgres:// (SQLAlchemy's names of drivers, as "
        "postgresql+asyncpg://, are understood)."
    )


def test_a_parameter_that_cannot_be_followed() -> None:
    """The setting is named, and what to do."""
    with pytest.raises(ConfigurationError, match=r"^READSIDE_LISTEN_URL has require_auth in its query"):
        checked_url("postgresql://db/x?require_auth=md5", "READSIDE_LISTEN_URL", POSTGRES)


@pytest.mark.parametrize("query", ["two", "a=1&two", "=&=", "&"])
def test_a_query_that_cannot_be_read(query: str) -> None:
    """A part of a password, perhaps: it is not shown."""
    with pytest.raises(ConfigurationError) as caught:
        checked_url(f"postgresql://db/x?{query}", "READSIDE_DATABASE_URL", POSTGRES)

    assert str(caught.value).startswith("READSIDE_DATABASE_URL cannot be read: after the ? come name=value, ")


def test_parameters_without_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named by variable: doctor and log tell of them."""
    monkeypatch.setenv("READSIDE_DATABASE_URL", "postgresql://db/x?application_name=shop")
    monkeypatch.setenv("READSIDE_LISTEN_URL", "postgresql://db/x?nonsense")

    assert Settings().without_effect() == {"READSIDE_DATABASE_URL": ("application_name",)}


@pytest.mark.parametrize(
    ("url", "schemes"),
    [
        ("postgresql://app:one%00@db/x", POSTGRES),
        ("postgresql://db/x?options=%00", POSTGRES),
        ("postgresql://db/x?sslrootcert=%00", POSTGRES),
        ("postgresql://db/x?sslcert=%00", POSTGRES),
        ("rediss://redis/0?ssl_ca_certs=%00", REDIS),
        ("unix://%00", REDIS),
    ],
)
def test_a_zero_byte(url: str, schemes: tuple[str, ...]) -> None:
    """No file, and nothing that is sent to a server, can hold one."""
    with pytest.raises(ConfigurationError, match=r"^READSIDE_X_URL cannot be read: it has a zero byte \(%00\)"):
        checked_url(url, "READSIDE_X_URL", schemes)
