"""The small rules of the HTTP side: ETags, staleness, poll interval, CORS, problems, transit."""

import orjson
import pytest

from query_api.http.conditional import matches
from query_api.http.cors import Cors
from query_api.http.problems import problem_of
from query_api.http.reply import SAFETY
from query_api.memory.answers import found
from query_api.memory.staleness import Staleness, parse_staleness
from query_api.memory.transit import WINDOW_SECONDS, Transit
from query_api.operators.hot_sessions import HotSessionsPage, parse_page
from query_api.polls.poll_interval import PollLoad, poll_interval
from readmodel.errors import (
    AnswerTooLarge,
    BadEvents,
    EventLogUnavailable,
    InvalidParameter,
    Overload,
    RightsMissing,
    SchemaMissing,
    ServiceError,
)

ETAG = b'"0123456789abcdef0123456789abcdef"'
ORIGIN = b"https://a.example"


@pytest.mark.parametrize("value", [ETAG, b"*", b" * ", b"W/" + ETAG, b'"other", ' + ETAG, b'W/"a",W/' + ETAG + b',"b"'])
def test_if_none_match_matches(value: bytes) -> None:
    """Lists, `*` and weak tags."""
    assert matches(value, ETAG)


@pytest.mark.parametrize("value", [b"", b'""', b'"other"', ETAG.strip(b'"'), b'"*"', b"**", b"w/" + ETAG[:-1]])
def test_if_none_match_does_not_match(value: bytes) -> None:
    """Other tags, and what is no tag."""
    assert not matches(value, ETAG)
    assert not matches(value, ETAG, b'"a-gzip"')


@pytest.mark.parametrize("form", [b"%b", b"W/%b", b'"other", %b', b'%b,W/"b"'])
def test_if_none_match_matches_the_tag_of_either_form(form: bytes) -> None:
    """Whichever the client holds."""
    assert matches(form % ETAG, ETAG, b'"a-gzip"')
    assert matches(form % b'"a-gzip"', ETAG, b'"a-gzip"')


def test_an_etag_depends_on_the_body_alone() -> None:
    """Neither session nor status are in it."""
    one, other, changed = (
        found("a", b"x", terminal=False),
        found("b", b"x", terminal=True),
        found("a", b"y", terminal=False),
    )

    assert one.etag == other.etag != changed.etag


@pytest.mark.parametrize(("text", "seconds"), [(b"0", 0.0), (b"0.0", 0.0), (b"2.5", 2.5), (b".5", 0.5), (b"007", 7.0)])
def test_a_staleness_is_a_decimal(text: bytes, seconds: float) -> None:
    """Seconds, zero or more."""
    assert parse_staleness(text) == Staleness(seconds, explicit=True)


@pytest.mark.parametrize(
    "text", [b"", b"-1", b"+1", b"1e3", b"inf", b"nan", b"1,5", b"0, 1", b"5s", b" 1", b"9" * 13, b"\xb2", b"."]
)
def test_another_staleness_is_refused(text: bytes) -> None:
    """The sentence names the header."""
    with pytest.raises(InvalidParameter, match="Readside-Max-Staleness must be a number of seconds"):
        parse_staleness(text)


@pytest.mark.parametrize(
    ("terminal", "busy", "seconds"), [(False, False, 1), (False, True, 2), (True, False, 15), (True, True, 30)]
)
def test_poll_interval(terminal: bool, busy: bool, seconds: int) -> None:
    """Longer for what is over, doubled under load."""
    assert poll_interval(terminal=terminal, busy=busy) == seconds


@pytest.mark.parametrize(("lateness", "waiting", "busy"), [(0.0, 0, False), (0.2, 0, True), (0.0, 3, True)])
def test_load(lateness: float, waiting: int, busy: bool) -> None:
    """Late timers, or queries that wait."""
    load = PollLoad(lambda: waiting > 0)
    load.note(lateness)

    assert load.busy == busy


def test_cors_is_off_without_origins() -> None:
    """Not even Vary is sent."""
    assert Cors(()).fields(ORIGIN).pairs == SAFETY.pairs


def test_cors_lets_the_named_origins_read() -> None:
    """Others get Vary alone."""
    cors = Cors([ORIGIN.decode()])

    assert dict(cors.fields(ORIGIN).pairs)[b"access-control-allow-origin"] == ORIGIN
    assert cors.fields(b"https://b.example") is cors.fields(None)
    assert cors.fields(None).pairs == [*SAFETY.pairs, (b"vary", b"Origin")]


def test_cors_may_let_every_origin_read() -> None:
    """`*`."""
    assert dict(Cors(["*"]).fields(ORIGIN).pairs)[b"access-control-allow-origin"] == b"*"


def test_a_problem_names_the_parameter() -> None:
    """RFC 9457's members, and which parameter it is."""
    reply = problem_of(InvalidParameter("limit", "limit must be small."))

    assert orjson.loads(reply.body) == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "limit must be small.",
        "parameter": "limit",
        "errors": [{"parameter": "limit", "detail": "limit must be small."}],
    }


def test_a_problem_names_all_that_is_wrong() -> None:
    """One sentence each, in `detail` together and in `errors` apart."""
    wrong = InvalidParameter.all_of(
        [InvalidParameter("limit", "limit must be small."), InvalidParameter("\ud800", "No such name.")]
    )

    assert orjson.loads(problem_of(wrong).body) == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "limit must be small. No such name.",
        "parameter": "limit",
        "errors": [
            {"parameter": "limit", "detail": "limit must be small."},
            {"parameter": "?", "detail": "No such name."},
        ],
    }


def test_an_answer_too_large_names_the_limit_that_fits() -> None:
    """400, not 5xx: the caller can mend it."""
    reply = problem_of(AnswerTooLarge(31, 32_000_000))

    assert reply.status == 400
    assert b"longer than 32 MB: limit=31 would fit." in reply.body


def test_a_store_that_is_away_is_not_named() -> None:
    """Host names are none of the caller's business."""
    reply = problem_of(EventLogUnavailable("PostgreSQL at db.internal:5432 does not answer."))

    assert (reply.status, dict(reply.headers)[b"retry-after"]) == (503, b"1")
    assert b"db.internal" not in reply.body


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RightsMissing("PostgreSQL at db.internal:5432/app: permission denied for schema apps."), 503),
        (SchemaMissing("PostgreSQL at db.internal:5432/app: permission denied for schema apps."), 503),
        (BadEvents("PostgreSQL at db.internal:5432/app: permission denied for schema apps."), 500),
    ],
)
def test_what_somebody_must_mend_is_told_without_the_server(error: ServiceError, status: int) -> None:
    """It would not end by itself, so the caller hears what it is."""
    reply = problem_of(error)

    assert reply.status == status
    assert orjson.loads(reply.body)["detail"] == "PostgreSQL: permission denied for schema apps."


def test_overload_says_when_to_try_again() -> None:
    """Retry-After in whole seconds."""
    reply = problem_of(Overload("Too many polls wait.", retry_after_seconds=3))

    assert (reply.status, dict(reply.headers)[b"retry-after"]) == (503, b"3")


@pytest.mark.parametrize(
    ("query", "page"),
    [
        (b"", HotSessionsPage(100, 1)),
        (b"limit=5&page=2", HotSessionsPage(5, 2)),
        (b"limit=1000", HotSessionsPage(1000, 1)),
    ],
)
def test_a_list_is_asked_for_in_pages(query: bytes, page: HotSessionsPage) -> None:
    """The hot sessions' two parameters."""
    assert parse_page(query) == page


@pytest.mark.parametrize(
    "query", [b"limit=0", b"limit=1001", b"limit=", b"limit=1&limit=2", b"page=-1", b"page=1.0", b"x=1", b"limit=%ff"]
)
def test_another_page_is_refused(query: bytes) -> None:
    """Named, as with polls."""
    with pytest.raises(InvalidParameter):
        parse_page(query)


def test_another_page_is_refused_for_all_that_is_wrong() -> None:
    """As with polls; and the cache-buster asks nothing."""
    with pytest.raises(InvalidParameter) as caught:
        parse_page(b"_=1&limit=0&x=1&page=0")

    assert [caught.value.parameter, *(other.parameter for other in caught.value.others)] == ["x", "limit", "page"]


def test_transit_is_measured_against_the_quickest_message() -> None:
    """The clocks' distance is unknown; only differences count."""
    transit = Transit()

    delays = [
        transit.delay_seconds(sent, now) for sent, now in ((1_000_000, 51.0), (2_000_000, 52.5), (3_000_000, 53.0))
    ]

    assert delays == [0.0, 0.5, 0.0]


def test_transit_takes_in_a_clock_that_was_set() -> None:
    """After two windows at most."""
    transit = Transit()
    transit.delay_seconds(1_000_000, 0.0)

    seen = [transit.delay_seconds(0, 0.0 + second) for second in (1.0, WINDOW_SECONDS + 1, 2 * WINDOW_SECONDS + 1)]

    assert seen[0] == 2.0
    assert seen[2] == WINDOW_SECONDS  # the first, quicker window is forgotten
