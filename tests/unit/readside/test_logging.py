"""What a log line looks like, and what is never on one."""

import logging
from collections.abc import Callable, Iterator
from contextvars import copy_context

import orjson
import pytest
import structlog

from query_api.http.request_id import RequestIds, about, is_acceptable
from query_api.http.request_log import shown
from readside.commands.terminal import plain
from readside.logging import Libraries, configure
from readside.settings import Settings

KEY, PASSWORD = "k3y-of(a)dashboard", "pa/ss@wörd"


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[str]]]:
    """What stderr got since the last call; structlog and the root logger are put back."""

    def written() -> list[str]:
        return capsys.readouterr().err.splitlines()

    yield written
    structlog.reset_defaults()
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler, Libraries)]


@pytest.mark.usefixtures("lines")
def test_a_servers_words_show_no_secret() -> None:
    """Nor more than one line."""
    configure("info", "json", ["hunter2secret"])

    assert plain("one\nhunter2secret") == "one\\u000a***"


def test_no_line_steers_the_terminal_that_shows_it(lines: Callable[[], list[str]]) -> None:
    """Neither a word nor a sentence, nor an exception, whose lines stay lines."""
    for log_format in ("json", "console"):
        configure("info", log_format)
        log = structlog.get_logger()
        log.warning("x", word="\x1b[2J", sentence="\x1b]0;a title\x07")
        try:
            raise ValueError("\x1b[31m\x9b2J")
        except ValueError:
            log.exception("y")
    told = lines()

    assert len(told) > 5
    assert all(set(map(ord, line)).isdisjoint({*range(32), *range(127, 160)}) for line in told)


def test_no_line_shows_a_key_or_a_password(monkeypatch: pytest.MonkeyPatch, lines: Callable[[], list[str]]) -> None:
    """Not as they are, nor as URLs and Python write them; tracebacks included."""
    monkeypatch.setenv("READSIDE_API_KEYS", f"dashboard:{KEY},ops:another-key-of-16:ops")
    monkeypatch.setenv("READSIDE_DATABASE_URL", "postgresql://app:pa%2Fss%40w%C3%B6rd@db/app")
    monkeypatch.setenv("READSIDE_REDIS_URL", "redis://:redis-word@cache/0")
    settings = Settings()
    for log_format in ("json", "console"):
        configure("info", log_format, settings.secrets())
        log = structlog.get_logger()
        log.warning("x", error=f"got {KEY!r} from postgresql://app:pa%2Fss%40w%C3%B6rd@db", given=[PASSWORD, 3])
        try:
            raise ValueError(f"redis://:redis-word@cache {PASSWORD!r} another-key-of-16")
        except ValueError:
            log.exception("y")
    told = "\n".join(lines())

    assert told.count("***") >= 10
    for secret in (KEY, PASSWORD, "pa%2Fss", "redis-word", "another-key-of-16", "w\\u00f6rd"):
        assert secret not in told


@pytest.mark.parametrize("name", ["password", "PASSWORD", "sslpassword", "ssl_password"])
@pytest.mark.parametrize("store", ["DATABASE_URL", "LISTEN_URL", "REDIS_URL"])
def test_no_line_shows_a_password_of_a_query(
    monkeypatch: pytest.MonkeyPatch, lines: Callable[[], list[str]], store: str, name: str
) -> None:
    """Where drivers take it as well, in whatever case and coding."""
    monkeypatch.setenv(f"READSIDE_{store}", f"x://host/0?user=app&{name}=query%2Fword&other=1")
    configure("debug", "json", Settings().secrets())
    structlog.get_logger().debug("x", url=f"x://host/0?{name}=query%2Fword&other=1", meant="query/word", of="query")
    line = orjson.loads(lines()[0])

    assert (line["url"], line["meant"], line["of"]) == (f"x://host/0?{name}=***&other=1", "***", "query")


def test_words_that_merely_hold_a_secret_stay(lines: Callable[[], list[str]]) -> None:
    """A password `info` masks that word, and neither the level nor `information`; a very short one masks nothing."""
    configure("info", "json", ["info", "a"])
    structlog.get_logger().info("a term began", text="information", word="info a")

    line = orjson.loads(lines()[0])
    assert (line["level"], line["text"], line["word"]) == ("info", "information", "*** a")


def test_a_line_bears_the_request_that_it_is_about(lines: Callable[[], list[str]]) -> None:
    """The caller's id where it may be had, else a new one, each another."""
    configure("info", "json")
    ids, log = RequestIds(), structlog.get_logger()

    def request(given: bytes) -> None:
        accepted = given if is_acceptable(given, [b"my-key"]) else ids.name()
        assert (accepted == given) == (given == b"trace:4bf92f35/7")
        about(accepted)
        log.info("x")

    for given in (b"trace:4bf92f35/7", b'x"},{', b"x" * 129, b"", b"a\nb", b"my-key"):
        copy_context().run(request, given)  # each in a task of its own, as uvicorn serves them
    log.info("x")
    *named, nobodys = [orjson.loads(line) for line in lines()]
    assert "request_id" not in nobodys
    named = [line["request_id"] for line in named]

    assert named[0] == "trace:4bf92f35/7"
    assert len(set(named)) == 6


def test_libraries_speak_through_our_log(lines: Callable[[], list[str]]) -> None:
    """One line of JSON, once a minute each; what is no warning is not said."""
    configure("info", "json")
    for n in range(3):
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request %d received.", n)
        logging.getLogger("uvicorn.error").info("Started.")

    (line,) = map(orjson.loads, lines())
    assert (line["event"], line["library"]) == ("a library says", "uvicorn.error")
    assert (line["level"], line["text"]) == ("warning", "Invalid HTTP request 0 received.")


@pytest.mark.parametrize(
    ("path", "safe"),
    [
        (
            "/api/v2/sessions/7d444840-9dc0-11d1-b245-5ffdce74fad2/events",
            "/api/v2/sessions/7d444840-9dc0-11d1-b245-5ffdce74fad2/events",
        ),
        ("/api/v2/sessions/my-secret-key/events", "/api/v2/sessions/…/events"),
        ("/health/live", "/health/live"),
        ("/\x1b[31m\n{}", "/…"),
        ("/a" * 1000, "/" + "…/" * 7 + "…"),
    ],
)
def test_a_path_is_shown_as_far_as_it_is_ours(path: str, safe: str) -> None:
    """Whatever a caller puts into it."""
    assert shown(path) == safe
