"""What is sent, and what each kind of answer means."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from email.utils import format_datetime
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

import readside_client
from readside_client.errors import BadRequest, Forbidden, RequestRefused, SessionNotFound, Unauthorized, Unavailable
from readside_client.exact_json import ExactJson
from readside_client.model import Page
from readside_client.protocol import NotModified, answer_of, asked, retry_after_seconds
from tests.clients.answering import SESSION, START, Answering, problem, query

NOW = datetime(2026, 1, 13, 14, 30, tzinfo=UTC)


def test_a_request_holds_what_was_asked() -> None:
    """In the API's words; an instant with its zone converted."""
    since = datetime(2026, 1, 13, 15, 30, 0, 1, tzinfo=timezone(timedelta(hours=1)))
    request = asked(SESSION, since, ("a", "b"), max_staleness_seconds=0).request(limit=7, page=3, etag='"x"')
    url = urlsplit(request.url)

    assert url.path == f"/api/v2/sessions/{SESSION}/events"
    assert parse_qs(url.query) == {
        "limit": ["7"],
        "page": ["3"],
        "event_type": ["a", "b"],
        "since": ["2026-01-13T14:30:00.000001Z"],
    }
    assert request.headers == {"if-none-match": '"x"', "readside-max-staleness": "0.000000"}


def test_a_session_id_stays_in_its_place_in_the_path() -> None:
    """Whatever a caller passes on."""
    url = urlsplit(asked("../../x?page=2#", None, "one").request(limit=1).url)

    assert url.path == "/api/v2/sessions/..%2F..%2Fx%3Fpage%3D2%23/events"
    assert parse_qs(url.query)["event_type"] == ["one"]


@pytest.mark.parametrize("since", ["yesterday", "", "infinity", "0044-03-15 00:00:00+00 BC", "10000-01-01 00:00:00+00",
                                   "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])  # fmt: skip
def test_a_since_that_is_no_instant_is_refused_with_what_is_accepted(since: str) -> None:
    """At the call, in one sentence."""
    with pytest.raises(
        ValueError, match=r"^since must be an ISO 8601 instant .* such as 2026-01-13T14:30:00Z, or a d"
    ) as it:
        asked(SESSION, since)
    assert str(it.value).endswith(f"not {since!r}.")


def test_a_datetime_without_an_offset_is_refused() -> None:
    """Nobody knows which instant is meant."""
    with pytest.raises(ValueError, match=r"^since must be .* a datetime with an offset, not datetime\.datetime\(2026"):
        asked(SESSION, datetime(2026, 1, 13))  # noqa: DTZ001


@pytest.mark.parametrize("since", ["2026-01-13T14:30:00", "2026-01-13 14:30:00", "2026-01-13T14:30:00Z",
                                   "2026-01-13T15:30:00+01:00", START])  # fmt: skip
def test_a_since_without_an_offset_is_utc(since: str | datetime) -> None:
    """As for the API, where it is a text."""
    assert "since=2026-01-13T14%3A30%3A00.000000Z" in asked(SESSION, since).request().url


@pytest.mark.parametrize("instant", ["2026-01-13T14:30:00", "2026-01-13T15:30:00+01:00", START])
def test_an_instant_that_the_answer_may_not_be_older_than_is_sent(instant: str | datetime) -> None:
    """In the API's form; what is none is refused by its name."""
    assert asked(SESSION, not_before=instant).headers == {"readside-not-before": "2026-01-13T14:30:00.000000Z"}
    with pytest.raises(ValueError, match=r"^not_before must be an ISO 8601 instant "):
        asked(SESSION, not_before="yesterday")


def test_what_is_not_asked_for_is_not_sent() -> None:
    """An older API refuses parameters that it does not know."""
    assert urlsplit(asked(SESSION).request().url).query == "page=1"


def test_steps_and_the_order_are_sent() -> None:
    """One step or several, as text or as UUID."""
    step = UUID("00000000-0000-0000-0000-00000000000a")
    url = asked(SESSION, step_ids=[step, "b"], order="asc").request(limit=5).url

    assert parse_qs(urlsplit(url).query) == {
        "limit": ["5"],
        "page": ["1"],
        "step_id": [str(step), "b"],
        "order": ["asc"],
    }
    assert all("step_id=x" in asked(SESSION, step_ids=one).request().url for one in ("x", ["x"]))
    assert f"step_id={step}" in asked(SESSION, step_ids=step).request().url


def test_a_page_holds_its_events_and_how_fresh_they_are() -> None:
    """Numbers with a point as the caller wants them."""
    api = Answering()
    ids = api.add(3, ago=3, step=1)
    api.events[2]["event_data"] = {"price": 0.1, "big": 2**80}
    page = answer_of(*api.found(query().request(limit=2)), ExactJson(Decimal))

    assert isinstance(page, Page)
    assert [event.id for event in page.items] == [ids[2], ids[1]]
    assert page.items[0].event_data == {"price": Decimal("0.1"), "big": 2**80}
    assert (page.total, page.total_pages, page.has_next, page.has_prev) == (3, 2, True, False)
    assert (page.freshness.source, page.freshness.as_of, page.freshness.lag_ms) == ("memory", START, 12)
    assert page.poll_interval_seconds == 1


def test_a_304_tells_how_fresh_the_known_page_is() -> None:
    """And how long to wait."""
    api = Answering(interval="15")
    first = answer_of(*api.found(query().request(limit=2)))
    assert isinstance(first, Page)
    second = answer_of(*api.found(query().request(limit=2, etag=first.etag)))

    assert second == NotModified(first.freshness, 15)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (401, Unauthorized),
        (403, Forbidden),
        (404, SessionNotFound),
        (302, RequestRefused),
        (418, RequestRefused),
    ],
)
def test_what_asking_again_does_not_mend_is_refused(status: int, kind: type[RequestRefused]) -> None:
    """With the API's sentence."""
    with pytest.raises(RequestRefused, match=r"Because so\. \(HTTP") as caught:
        answer_of(*problem(status, "Because so.", parameter="since"))

    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.detail) == (status, "Because so.")
    assert getattr(caught.value, "parameter", "since") == "since"


def test_all_that_is_wrong_is_told() -> None:
    """By parameter, and in the error's own text; the first has its old name."""
    errors = [{"parameter": "limit", "detail": "limit must be less."}, {"parameter": "page", "detail": "page is none."}]
    status, headers, body = problem(400, "limit must be less.", errors=errors)
    with pytest.raises(BadRequest) as caught:
        answer_of(status, headers, body)

    assert caught.value.errors == (("limit", "limit must be less."), ("page", "page is none."))
    assert caught.value.parameter == "limit"
    assert str(caught.value) == "limit must be less. page is none. (HTTP 400)"


@pytest.mark.parametrize("errors", [None, 1, "x", [1], [{}], [{"parameter": 1, "detail": "x"}], {"a": 1}], ids=range(7))
def test_errors_of_another_form_are_passed_over(errors: object) -> None:
    """The sentence remains."""
    with pytest.raises(BadRequest, match=r"^No\. \(HTTP 400\)$") as caught:
        answer_of(*problem(400, "No.", parameter="since", errors=errors))

    assert caught.value.parameter == "since"


def test_no_more_that_is_wrong_is_read_than_the_api_names() -> None:
    """A hostile answer of a million would be compared, each, with its `detail`."""
    wrong = [{"parameter": f"p{number}", "detail": f"wrong {number}"} for number in range(1_000)]

    with pytest.raises(BadRequest) as caught:
        answer_of(400, {}, json.dumps({"detail": "x", "errors": wrong}).encode())

    assert len(caught.value.errors) == 100


def test_code_written_for_version_0_1_goes_on_catching_refusals() -> None:
    """By the name that they had."""
    with pytest.raises(readside_client.Refused):
        answer_of(*problem(404, "Session not found: x"))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507, 521, 530])
def test_what_passes_is_unavailable(status: int) -> None:
    """With what Retry-After says."""
    with pytest.raises(Unavailable) as caught:
        answer_of(status, {"retry-after": "3"}, b"<html>Bad gateway</html>")

    assert (caught.value.status, caught.value.retry_after_seconds) == (status, 3)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"items":[{}],"total":1,"pagination":{}}',
        b"[" * 9999,
        b"\xff{}",
        b"{} {}",
        b'{"items":[1],"total":1,"pagination":{}}',
        b'{"items":{},"total":NaN,"pagination":{}}',
    ],
    ids=range(10),
)
def test_a_200_that_is_not_readsides_is_no_answer(body: bytes) -> None:
    """A proxy's page, most likely."""
    with pytest.raises(Unavailable, match="not readside's"):
        answer_of(200, {}, body)


@pytest.mark.parametrize("total", ["9e999999", "1" + "0" * 5000, "-1", "1.5", '"1"', "true", "null"], ids=range(7))
def test_a_total_that_is_no_number_of_events_is_no_answer(total: str) -> None:
    """No power of ten is written out, and nothing is asked for by it."""
    _, headers, body = Answering().found(query().request())

    with pytest.raises(Unavailable):
        answer_of(200, headers, body.replace(b'"total": 0, "pag', f'"total": {total}, "pag'.encode()))


def test_a_200_without_freshness_is_no_answer() -> None:
    """An as-of is what completeness is measured by."""
    status, headers, body = Answering().found(query().request(limit=2))

    with pytest.raises(Unavailable):
        answer_of(status, {**headers, "readside-as-of": "2026-01-13T14:30:00"}, body)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        ("1.5", 1.5),
        ("", None),
        ("-1", None),
        ("nan", None),
        ("soon", None),
        ("999999999", 3600),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0),
        ("Tue, 13 Jan 2026 14:31:00 -0000", 60),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_servers_own_clock(told: str, seconds: float | None) -> None:
    """What is neither says nothing; an hour is the most."""
    assert retry_after_seconds({"retry-after": told, "date": format_datetime(NOW, usegmt=True)}) == seconds


def test_a_date_without_the_servers_own_counts_from_here() -> None:
    """The local clock is the next best."""
    told = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)

    assert 90 < (retry_after_seconds({"retry-after": told}) or 0) <= 100


@pytest.mark.parametrize(
    ("told", "seconds"), [("15", 15), ("0.2", 0.2), ("", 1), ("soon", 1), ("-3", 1), ("0", 0.1), ("1e9", 3600)]
)
def test_an_interval_that_makes_no_sense_is_a_second(told: str, seconds: float) -> None:
    """Polls never run hot for a header."""
    page = answer_of(*Answering(interval=told).found(query().request(limit=2)))

    assert page.poll_interval_seconds == seconds
