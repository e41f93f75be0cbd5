"""What of a Postgres URL is followed, and what is named: libpq's parameters, SQLAlchemy's, lists of hosts."""

import socket
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readmodel.errors import ConfigurationError
from readmodel.postgres.url import address_of

BASE = "postgresql://app:one@db/shop"
SETTING = "READSIDE_DATABASE_URL"


@pytest.mark.parametrize(
    "query",
    [
        "sslmode=require", "sslnegotiation=postgres", "target_session_attrs=read-write",
        "passfile=%2Fhome%2Fa%2F.pgpass",
        "options=-c%20geqo%3Doff", "service=shop", "user=app&password=two", "ssl_min_protocol_version=TLSv1.3",
        "krbsrvname=postgres", "search_path=app", "statement_timeout=3", "dbname=shop",
    ],
)  # fmt: skip
def test_what_asyncpg_understands_is_left_to_it(query: str) -> None:
    """So are the settings of a server."""
    assert address_of(f"{BASE}?{query}").urls == (f"{BASE}?{query.replace('%20', '+')}",)


@pytest.mark.parametrize(
    "query",
    [
        "connect_timeout=3", "application_name=shop", "fallback_application_name=shop", "client_encoding=UTF8",
        "client_encoding=auto", "gssencmode=disable", "gssencmode=prefer", "channel_binding=prefer", "sslcompression=0",
        "sslsni=1", "sslcertmode=allow", "load_balance_hosts=random", "keepalives=1", "keepalives_idle=30",
        "keepalives_interval=10", "keepalives_count=3", "tcp_user_timeout=10000", "replication=false", "requiressl=0",
        "min_protocol_version=3.0", "max_protocol_version=latest", "gssdelegation=0",
    ],
)  # fmt: skip
def test_what_libpq_understands_is_no_setting_of_the_servers(query: str) -> None:
    """A server would refuse the connection: unrecognized configuration parameter."""
    assert address_of(f"{BASE}?{query}").urls == (BASE,)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("require_auth=scram-sha-256", "use sslmode=verify-full, and choose the method in pg_hba.conf"),
        ("gssencmode=require", "use sslmode=verify-full"),
        ("channel_binding=require", "use sslmode=verify-full"),
        ("client_encoding=latin1", "we read and write UTF8"),
        ("requirepeer=postgres", "use a host and sslmode=verify-full"),
        ("requiressl=1", "use sslmode=require"),
        ("sslsni=0", "take it out"),
        ("sslcrldir=%2Fetc", "name one file by sslcrl"),
        ("replication=database", "take it out"),
        ("min_protocol_version=3.2", "take it out"),
        ("servicefile=x", "set the variable PGSERVICEFILE"),
        ("prepared_statement_cache_size=0", "set READSIDE_STATEMENT_CACHE_SIZE"),
        ("pgbouncer=true", "a pooler is found out without it; READSIDE_STATEMENT_CACHE_SIZE=0 prepares nothing"),
        ("schema=app", "use search_path"),
        ("pool_size=5", "set READSIDE_FALLBACK_CONCURRENCY"),
        ("async_fallback=true", "take it out"),
        ("sslrootcert=system", "name the system's own file, such as /etc/ssl/certs/ca-certificates.crt"),
        (
            "target_session_attrs=secret",
            "it is one of any, prefer-standby, primary, read-only, read-write, standby",
        ),
        ("hostaddr=::1&sslmode=verify-full", "with sslmode=verify-full the host itself must be its certificate's"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_named(query: str, told: str) -> None:
    """With what to do, in one line, and without its value."""
    name = query.partition("=")[0]
    with pytest.raises(ConfigurationError) as caught:
        address_of(f"{BASE}?{query}", SETTING)

    assert str(caught.value) == f"{SETTING} has {name} in its query, which readside cannot follow so: {told}."


@pytest.mark.parametrize(
    "query", ["connect_timeout=soon", "keepalives_idle=-1", "tcp_user_timeout=1e3", "keepalives_count=999"]
)
def test_a_number_that_is_none(query: str) -> None:
    """Named, as libpq does."""
    with pytest.raises(
        ConfigurationError, match=f"^{SETTING} has {query.partition('=')[0]} in its query, which must be a"
    ):
        address_of(f"{BASE}?{query}", SETTING)


def test_connect_timeout_and_the_sockets() -> None:
    """What asyncpg cannot be told; 0 is the system's own."""
    address = address_of(
        f"{BASE}?connect_timeout=3&keepalives=0&keepalives_idle=30&keepalives_count=0&tcp_user_timeout=9"
    )

    assert address.connect_seconds == 3
    assert sorted(address.socket_options) == sorted(
        [
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 9),
        ]
    )


@pytest.mark.parametrize("seconds", ["0", "-1", ""])
def test_a_connect_timeout_for_ever(seconds: str) -> None:
    """Ours holds then."""
    assert address_of(f"{BASE}?connect_timeout={seconds}").connect_seconds is None


def test_a_name_that_does_nothing() -> None:
    """Ours are fixed; whoever looks is told."""
    assert address_of(f"{BASE}?application_name=x&fallback_application_name=y").without_effect == (
        "application_name",
        "fallback_application_name",
    )


@pytest.mark.parametrize(
    ("given", "mode"), [("true", "verify-full"), ("require", "require"), ("false", "disable"), ("prefer", "prefer")]
)
def test_sqlalchemys_ssl(given: str, mode: str) -> None:
    """As asyncpg's argument of that name."""
    assert address_of(f"postgresql+asyncpg://app:one@db/shop?ssl={given}").urls == (f"{BASE}?sslmode={mode}",)


PRIMARY = "?target_session_attrs=primary"


@pytest.mark.parametrize(
    ("url", "urls"),
    [
        ("postgresql://a:p@h1,h2/x", ["a:p@h1/x", "a:p@h2/x"]),
        ("postgresql://a:p@h1:1,h2:2/x", ["a:p@h1:1/x", "a:p@h2:2/x"]),
        ("postgresql://h1:1,h2/x", ["h1:1/x", "h2/x"]),
        ("postgresql://[::1]:5433,[2001:db8::2]/x", ["[::1]:5433/x", "[2001:db8::2]/x"]),
        ("postgresql://h1,h2/x?port=1,2", ["h1:1/x", "h2:2/x"]),
        ("postgresql://h1,h2/x?port=7", ["h1:7/x", "h2:7/x"]),
        ("postgresql:///x?host=h1,h2&port=1,2", ["h1:1/x", "h2:2/x"]),
        ("postgresql:///x?host=h1,::1", ["h1/x", "[::1]/x"]),
        ("postgresql://a@h1,h2/x?hostaddr=10.0.0.1,10.0.0.2", ["a@10.0.0.1/x", "a@10.0.0.2/x"]),
        ("postgresql://h1:1,h2:2", ["h1:1", "h2:2"]),
    ],
)
def test_several_hosts(url: str, urls: list[str]) -> None:
    """One URL for each, IPv6 and ports of their own included; the primary is looked for, since we need no other."""
    assert address_of(url).urls == tuple(f"postgresql://{one}{PRIMARY}" for one in urls)


def test_sockets_among_several_hosts() -> None:
    """A directory can stand in the query alone."""
    address = address_of("postgresql://a@%2Frun%2Fpg,h2:2/x?target_session_attrs=any")

    assert address.urls == (
        "postgresql://a@/x?target_session_attrs=any&host=%2Frun%2Fpg",
        "postgresql://a@h2:2/x?target_session_attrs=any",
    )


@pytest.mark.parametrize(("query", "name"), [("port=1,2", "port"), ("hostaddr=::1,::2", "hostaddr")])
def test_lists_of_different_lengths(query: str, name: str) -> None:
    """Nobody knows which belongs to which."""
    with pytest.raises(ConfigurationError, match=f"has a list in {name} that is not as long as its list of hosts"):
        address_of(f"postgresql://h1,h2,h3/x?{query}")


@pytest.mark.parametrize(
    "url", ["postgresql:///x?host=%2Frun%2Fpg", "postgresql://", "postgresql:///x", "postgresql://%2Frun/x"]
)
def test_one_host_or_none(url: str) -> None:
    """It is left as it is."""
    assert address_of(url).urls == (url,)


def test_one_address_instead_of_a_name() -> None:
    """It is what is dialled."""
    assert address_of("postgresql://a:p@db:5433/x?hostaddr=::1").urls == ("postgresql://a:p@[::1]:5433/x",)


words = st.text(max_size=8)
names = st.sampled_from(
    ["connect_timeout", "keepalives", "port", "host", "hostaddr", "ssl", "sslmode", "client_encoding",
     "application_name", "require_auth", "target_session_attrs", "options", "nothing"]
)  # fmt: skip


@given(st.lists(st.tuples(names, words), max_size=4), st.lists(words, max_size=3))
def test_any_query(pairs: list[tuple[str, str]], hosts: list[str]) -> None:
    """It is read, or refused in one line that shows no value of it."""
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs)
    place = ",".join(quote(host, safe="") for host in hosts)
    told = ""
    urls: tuple[str, ...] = ("postgresql://app:hunter2@",)
    try:
        urls = address_of(f"postgresql://app:hunter2@{place}/shop?{query}", SETTING).urls
    except ConfigurationError as error:
        told = str(error)
    except ValueError:
        told = f"{SETTING} has "  # the setting's own sentence says it

    assert told == "" or (told.startswith(f"{SETTING} has ") and "hunter2" not in told)
    assert urls
    assert all(url.startswith("postgresql://app:hunter2@") for url in urls)
