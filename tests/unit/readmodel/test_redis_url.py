"""URLs that name several Redis servers."""

import pytest

from readmodel.errors import ConfigurationError
from readmodel.redis.servers import open_servers
from readmodel.redis.url import several
from readside.urls import REDIS, checked_url, passwords

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "nodes"),
    [
        ("redis+cluster://a", [("a", 6379)]),
        ("redis+cluster://:p%40ss@a:1,b,[::1]:7/0", [("a", 1), ("b", 6379), ("::1", 7)]),
        ("rediss+cluster://a,a,b", [("a", 6379), ("b", 6379)]),
        ("redis+sentinel://a,b:5/main", [("a", 26379), ("b", 5)]),
        ("rediss+sentinel://[fe80::1]/main/3", [("fe80::1", 26379)]),
    ],
)
def test_the_servers_that_a_url_names(url: str, nodes: list[tuple[str, int]]) -> None:
    """Each once, with the usual port where none is named."""
    found = several(url)

    assert found is not None
    assert list(found.nodes) == nodes


@pytest.mark.parametrize("url", ["redis://a/0", "rediss://a", "unix:///run/redis.sock", ""])
def test_a_url_of_one_server(url: str) -> None:
    """It is redis-py's to read."""
    assert several(url) is None


def test_the_url_of_each_server() -> None:
    """Login and options go with each; the sentinels' login does not, and the database is the one that is named."""
    found = several(f"rediss+sentinel://u:{SECRET}@[::1],b/main%20one/4?ssl_ca_certs=f&sentinel_password=x%26y")

    assert found is not None
    assert found.of(("::2", 9)) == f"rediss://u:{SECRET}@[::2]:9/4?ssl_ca_certs=f"
    assert (found.service, found.database, found.sentinel_login) == ("main one", 4, {"password": "x&y"})


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"redis+cluster://:{SECRET}@a,b/1", "a Redis Cluster has database 0 and no other"),
        (f"redis+cluster://:{SECRET}@a,,b", "its servers are host:port"),
        (f"redis+cluster://:{SECRET}@", "its servers are host:port"),
        (f"redis+cluster://:{SECRET}@a:0", "its servers are host:port|a port from 1 to 65535"),
        (f"redis+cluster://:{SECRET}@a?db=1", "db is no option"),
        (f"redis+cluster://u:{SECRET}@a:1,u:{SECRET}@b:2", "user:password@ stands once, before the first server"),
        (f"redis+sentinel://u:{SECRET}@a:1,u:{SECRET}@b:2/main", "user:password@ stands once"),
        (f"redis+cluster://a?sentinel_password={SECRET}", "options of redis.sentinel:// alone"),
        (f"redis+sentinel://:{SECRET}@a", "after the sentinels come / and the service's name"),
        (f"redis+sentinel://:{SECRET}@a/main/x", "after the sentinels come / and the service's name"),
        (f"redis+sentinel://:{SECRET}@a/main/1/2", "after the sentinels come / and the service's name"),
        (f"redis+cluster://:{SECRET}@a?unknown_option=1", "URL that can be used"),
    ],
)
def test_a_url_that_cannot_be_used(url: str, said: str) -> None:
    """One sentence says why, without a secret."""
    with pytest.raises(ConfigurationError, match=said) as caught:
        open_servers(checked_url(url, "READSIDE_REDIS_URL", REDIS), name="test")

    assert SECRET not in str(caught.value)


def test_the_sentinels_password_is_a_secret() -> None:
    """As the servers' is."""
    assert passwords(f"redis+sentinel://:one@a/main?sentinel_password={SECRET}") == {"one", SECRET}
