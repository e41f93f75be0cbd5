"""The passwords of a URL, wherever they stand and however they are written."""

import pytest

from readside.urls import passwords


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql://app:one@db/x", {"one"}),
        ("postgresql+asyncpg://app:one@db/x", {"one"}),
        ("REDISS://:one@cache/0", {"one"}),
        ("postgresql://app:a%2Fb@db/x", {"a%2Fb", "a/b"}),
        ("postgresql://db/x?user=app&password=one", {"one"}),
        ("postgresql://db/x?PASSWORD=one&sslmode=require", {"one"}),
        ("postgresql://db/x?pass%77ord=one", {"one"}),
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
