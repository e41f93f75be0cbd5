"""What a poll may ask, what it gets for asking anything else, and the bytes around a page."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import quote, quote_plus

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from readmodel.errors import InvalidParameter
from readmodel.shown import cut
from readmodel.values.freshness import microseconds
from readmodel.values.ids import parse_session_id
from readmodel.values.parameters import MOST_WRONG
from readmodel.values.poll import Poll, render
from readmodel.values.poll_query import MAX_PAGE, MAX_STEPS, MAX_TYPES, parse_poll, parse_since

SID = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
NOON = 1_768_314_600_123_456  # 2026-01-13T14:30:00.123456Z
STEPS = ("0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7")
HOSTILE = ["", " ", "\0", "🙂", "x" * 10_000, "'; DROP TABLE events; --", "%", "\r\nX-Header: 1", "\ud7ff", "null"]
INSTANTS = st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29))  # noqa: DTZ001
OFFSETS = st.integers(min_value=-(24 * 60 - 1), max_value=24 * 60 - 1)


def ask(query: str | bytes) -> Poll:
    """Parse a query string."""
    return parse_poll(SID, query if isinstance(query, bytes) else query.encode())[0]


def refusal(query: str | bytes) -> InvalidParameter:
    """Parse a query string that must be refused, by a sentence fit for a header and a log line."""
    with pytest.raises(InvalidParameter) as caught:
        ask(query)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert len(sentence) < 300
    assert sentence.isprintable()
    assert sentence.isascii() or "…" in sentence
    return caught.value


def test_nothing_asked_is_the_newest_hundred() -> None:
    """No parameter: any event, the first page of a hundred."""
    assert ask("") == ask("&&") == Poll(SID, since_us=None, types=(), limit=100, page=1, may_shorten=True)


def test_everything_asked() -> None:
    """Every parameter at once, in any order, escaped or not."""
    query = (
        "page=3&limit=7&event_type=workflow_error&since=2026-01-13T14%3A30%3A00.123456Z&event_type=a&order=asc"
        f"&step_id={STEPS[1]}&step_id={STEPS[0]}"
    )

    assert ask(query) == Poll(SID, NOON, ("a", "workflow_error"), 7, 3, STEPS, oldest_first=True)


def test_aliases_mean_the_same() -> None:
    """`type` is `event_type` (both together: any of them), `per_page` is `limit`."""
    assert ask("per_page=7").limit == 7
    assert ask("type=b").types == ("b",)
    assert ask("type=b&event_type=a&type=a").types == ("a", "b")


@pytest.mark.parametrize(("limit", "page"), [("1", "1"), ("1000", "1000000000"), ("007", "0010"), ("%31%30", "2")])
def test_the_bounds_are_in(limit: str, page: str) -> None:
    """The least and the greatest that are accepted."""
    poll = ask(f"limit={limit}&page={page}")

    assert 1 <= poll.limit <= 1000
    assert 1 <= poll.page <= MAX_PAGE


@pytest.mark.parametrize("name", ["limit", "per_page", "page"])
@pytest.mark.parametrize(
    "value",
    [
        *HOSTILE, "0", "-1", "-0", "+5", "1.0", "1e3", "1_000", "0x10", "ten", "NaN", "Infinity", "true", "[]",
        str(10**20), "9" * 5000, "٣", "²", "1 ", " 1", "1,2", "1\n",
    ],
)  # fmt: skip
def test_a_number_is_a_whole_number_from_one(name: str, value: str) -> None:
    """Anything else is refused by a sentence that names the parameter as written, and what it accepts."""
    error = refusal(f"{name}={quote(value, safe='')}")

    assert error.parameter == name
    most = MAX_PAGE if name == "page" else 1000
    assert str(error).startswith(f"{name} must be a whole number from 1 to {most}, not ")


@pytest.mark.parametrize(("name", "value"), [("limit", "1001"), ("per_page", "1001"), ("page", "1000000001")])
def test_one_past_the_bound_is_out(name: str, value: str) -> None:
    """1001, and a page past 10⁹."""
    assert refusal(f"{name}={value}").parameter == name


@pytest.mark.parametrize(
    "value",
    [
        *HOSTILE, "2026-01-13", "14:30:00Z", "yesterday", "1768314600", "-1", "0",
        "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z",
        "2026-01-13T24:00:00Z", "2026-01-13T14:60:00Z", "2026-01-13T14:30:60Z", "2026-01-13T14:30:00+24:00",
        "2026-01-13T14:30:00+00:60", "2026-01-13T14:30:00.Z", "2026-01-13T14:30:00+1", "2026-01-13T14:30:00ZZ",
        "infinity", "-infinity", "now", "2026-01-13T14:30:00 UTC", "٢٠٢٦-01-13T14:30:00Z", "2026-01-13T14:30:00Z\n",
        "2026-01-13T14:30:00Z ", "-2026-01-13T14:30:00Z", "+2026-01-13T14:30:00Z", "2026-W03-2T14:30:00Z",
    ],
)  # fmt: skip
def test_since_is_an_instant(value: str) -> None:
    """Out of the calendar, or no instant at all: refused, with an example that works."""
    error = refusal(f"since={quote(value, safe='')}")

    assert error.parameter == "since"
    assert str(error).startswith("since must be an ISO 8601 instant (UTC unless it has an offset), such as 2026-")


@pytest.mark.parametrize(
    "query",
    [
        "2026-01-13T14:30:00.123456Z",
        "2026-01-13T14:30:00.123456z",
        "2026-01-13t14:30:00.123456Z",
        "2026-01-13 14:30:00.123456Z",
        "2026-01-13+14:30:00.123456Z",
        "2026-01-13T14:30:00,123456Z",
        "2026-01-13T14:30:00.123456%2B00:00",
        "2026-01-13T14:30:00.123456+00:00",  # the + arrives as a space
        "2026-01-13T14:30:00.123456%20%30%30:00",
        "2026-01-13T15:30:00.123456+01",
        "2026-01-13T15:30:00.123456+0100",
        "2026-01-13T20:15:00.123456+05:45",
        "2026-01-13T14:30:00.123456-00:00",
        "2026-01-13T14:30:00.123456",
        "2026-01-13+14:30:00.123456",
        "2026-01-13T04:30:00.123456-10:00",
        "2026-01-12T14:31:00.123456-23:59",
        "2026-01-13T14:30:00.123456789Z",
        "2026-01-13T14:30:00.1234569999999999999999999999Z",
    ],
)
def test_one_instant_in_many_ways(query: str) -> None:
    """A lost +, other separators, short offsets or none, and digits past the microsecond all mean the same instant."""
    assert ask(f"since={query}").since_us == NOON


def test_digits_past_the_microsecond_are_cut_off() -> None:
    """Never rounded: rounding up would skip an event."""
    assert parse_since("1969-12-31T23:59:59.9999999Z") == -1
    assert parse_since("1970-01-01T00:00:00.0000009Z") == 0
    assert parse_since("1970-01-01T00:00:00.5Z") == 500_000
    assert parse_since("1970-01-01T00:00Z") == 0


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00+24:00"])
def test_what_is_no_instant_is_named(text: str) -> None:
    """For whoever parses an instant alone, too."""
    with pytest.raises(InvalidParameter, match=r"^since must be an ISO 8601 instant") as caught:
        parse_since(text)
    assert caught.value.parameter == "since"


def test_the_ends_of_the_calendar() -> None:
    """Years 1 and 9999 are accepted with any offset, though the instant may lie outside of them."""
    day_us = 86_400 * 1_000_000
    first = microseconds(datetime(1, 1, 1, tzinfo=UTC))
    last = microseconds(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))

    assert parse_since("0001-01-01T00:00:00Z") == first
    assert parse_since("0001-01-01T00:00:00+23:59") == first - day_us + 60_000_000
    assert parse_since("9999-12-31T23:59:59.999999Z") == last
    assert parse_since("9999-12-31T23:59:59.999999-23:59") == last + day_us - 60_000_000


@given(instant=INSTANTS, offset_minutes=OFFSETS, separator=st.sampled_from("Tt "), plus=st.sampled_from(["%2B", "+"]))
def test_any_instant_with_any_offset_comes_through(
    instant: datetime, offset_minutes: int, separator: str, plus: str
) -> None:
    """Written by Python, escaped or carelessly pasted into a URL, read back to the microsecond."""
    aware = instant.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    text = aware.isoformat(sep=separator, timespec="microseconds")
    query = text.replace("+", plus).replace(" ", "%20")

    assert ask(f"since={query}").since_us == microseconds(aware)


@given(text=st.text(max_size=60))
def test_no_since_raises_anything_else(text: str) -> None:
    """Whatever is given, it is an instant or a refusal."""
    with suppress(InvalidParameter):
        assert isinstance(parse_since(text), int)


@pytest.mark.parametrize("name", ["event_type", "type"])
@pytest.mark.parametrize(
    "value", [*HOSTILE[:-1], "A", "Step_created", "step-created", "step1", "a b", "a,b", "é", "a" * 101, "a\n", "a\0b"]
)
def test_a_type_is_lower_case_letters_and_underscores(name: str, value: str) -> None:
    """The contract's pattern, one to a hundred characters, or a refusal under the name that was used."""
    error = refusal(f"type=ok&{name}={quote(value, safe='')}")

    assert error.parameter == name
    assert str(error).startswith(f"{name} must be 1 to 100 characters, a to z and _, not ")


def test_the_longest_type() -> None:
    """A hundred characters are in."""
    assert ask("type=" + "_" * 100).types == ("_" * 100,)


def test_types_have_a_bound() -> None:
    """Repeated types count once; too many distinct ones are refused, with the bound."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [f"{one}{other}" for one in letters for other in letters]

    assert len(ask("&".join(f"type={name}" for name in names[:MAX_TYPES] * 2)).types) == MAX_TYPES
    error = refusal("&".join(f"type={name}" for name in names[: MAX_TYPES + 1]))
    assert error.parameter == "event_type"
    assert f"at most {MAX_TYPES}" in str(error)


@pytest.mark.parametrize("name", ["since", "limit", "per_page", "page", "order"])
def test_repeated_where_one_is_meant(name: str) -> None:
    """The very same value twice is refused as well."""
    value = "2026-01-13T14:30:00Z" if name == "since" else "1"
    error = refusal(f"{name}={value}&{name}={value}&{name}={value}")

    assert error.parameter == name
    assert str(error) == f"{name} is given 3 times; it is accepted once."


def test_both_names_of_the_limit() -> None:
    """`limit` and `per_page` together are refused, even when they agree."""
    error = refusal("per_page=5&limit=5")

    assert error.parameter == "per_page"
    assert str(error) == "per_page is another name of limit: give one of them."


@pytest.mark.parametrize("name", [*HOSTILE[1:], "Limit", "limit[]", "offset", "session_id", "since ", "X" * 10_000])
def test_unknown_names_are_refused(name: str) -> None:
    """A typing error must not be a filter silently left out; the sentence lists what there is."""
    error = refusal(f"limit=5&{quote_plus(name, safe='')}=1")

    assert error.parameter == cut(name)
    accepted = "accepted are since, event_type (or type), step_id, limit (or per_page), page, order and wait."
    assert accepted in str(error)


def test_the_cache_buster_asks_nothing() -> None:
    """Whatever its value, and however often it comes."""
    assert ask("_=1768314600&limit=7&_=%ff&_&%5F=1") == ask("limit=7")


def test_all_that_is_wrong_is_named_at_once() -> None:
    """The session id, each parameter, each unknown name: whoever mends one need not come back for the next."""
    with pytest.raises(InvalidParameter) as caught:
        parse_poll("7", b"since=yesterday&limit=0&page=0&type=A&type=b&x=1&step_id=7&order=up&x=2&page=%ff&y=1")
    wrong = [caught.value, *caught.value.others]

    names = ["x", "page", "y", "session_id", "limit", "since", "event_type", "page", "step_id", "order"]
    assert sorted(error.parameter for error in wrong) == sorted(
        name if name != "event_type" else "type" for name in names
    )
    assert all(str(error).endswith(".") for error in wrong)


def test_no_more_is_named_than_anybody_reads() -> None:
    """A query string of 60 kB may hold thousands of mistakes."""
    error = refusal("&".join(f"x{number}=1" for number in range(10_000)))

    assert len(error.others) == MOST_WRONG - 1


@pytest.mark.parametrize("name", ["x" * 60_000, "%00" * 20_000, "%F0%9F%98%80" * 5_000], ids=["x", "%00", "emoji"])
def test_what_is_said_of_a_long_name_is_short(name: str) -> None:
    """Whatever a head of 64 kB holds."""
    with pytest.raises(InvalidParameter) as caught:
        ask(f"{name}=1")

    assert len(str(caught.value)) + len(caught.value.parameter) < 1_000


@pytest.mark.parametrize("value", [*HOSTILE, "7", f"{STEPS[0]},{STEPS[1]}", STEPS[0] + "\n", "null"])
def test_a_step_is_a_uuid(value: str) -> None:
    """In any of the forms that a session's id may have."""
    error = refusal(f"step_id={STEPS[0]}&step_id={quote(value, safe='')}")

    assert error.parameter == "step_id"
    assert str(error).startswith("step_id must be a UUID such as ")


def test_steps_in_any_form_are_told_once() -> None:
    """Sorted and without their repetitions: a poll has one key in memory."""
    first, second = STEPS
    query = f"step_id={second}&step_id={first.replace('-', '')}&step_id=urn:uuid:{first.upper()}"

    assert ask(query).steps == STEPS


def test_steps_have_a_bound() -> None:
    """As types have."""
    error = refusal("&".join(f"step_id={number:032x}" for number in range(MAX_STEPS + 1)))

    assert error.parameter == "step_id"
    assert f"at most {MAX_STEPS}" in str(error)


@pytest.mark.parametrize(("value", "oldest_first"), [("asc", True), ("desc", False)])
def test_the_order_is_told(value: str, oldest_first: bool) -> None:
    """The newest first, as ever, or the oldest."""
    assert ask(f"order={value}").oldest_first == oldest_first


@pytest.mark.parametrize("value", [*HOSTILE, "ASC", "ascending", "timestamp", "-timestamp", "1"])
def test_another_order_is_refused(value: str) -> None:
    """Named, with what is accepted."""
    assert str(refusal(f"order={quote(value, safe='')}")).startswith("order must be asc or desc, not ")


def test_a_page_may_be_shortened_where_no_limit_was_asked_for() -> None:
    """Who asks for a limit gets it, or hears which one fits."""
    assert ask("page=2").may_shorten
    assert not ask("limit=100").may_shorten
    assert not ask("per_page=100").may_shorten


def test_a_name_without_a_value_is_empty() -> None:
    """`?limit`, `?limit=` and `?=5` are refused, not passed over."""
    assert refusal("limit").parameter == refusal("limit=").parameter == "limit"
    assert refusal("=5").parameter == ""


@pytest.mark.parametrize("query", [b"since=%ff", b"type=%C3%28", b"limit=\xff", b"page=%80", b"%ff=1", b"\xfe=1"])
def test_invalid_utf8_is_refused(query: bytes) -> None:
    """Bytes that are no text, escaped or raw."""
    assert str(refusal(query)).endswith("is not UTF-8.")


@given(query=st.binary(max_size=200))
def test_no_query_raises_anything_else(query: bytes) -> None:
    """Whatever bytes come, they are a poll or a refusal."""
    try:
        poll = ask(query)
    except InvalidParameter:
        return
    assert 1 <= poll.limit <= 1000
    assert 1 <= poll.page <= MAX_PAGE


@pytest.mark.parametrize("text", [SID, SID.upper(), SID.replace("-", ""), f"urn:uuid:{SID}", f"URN:UUID:{SID}"])
def test_a_session_id_in_any_form(text: str) -> None:
    """Ids are compared as Postgres prints them."""
    assert parse_session_id(text) == parse_poll(text, b"")[0].session_id == SID


@pytest.mark.parametrize(
    "text",
    [
        *HOSTILE,
        SID[:-1],
        SID + "0",
        SID.replace("-", "", 1),
        f"{{{SID}}}",
        f"urn:{SID}",
        f"uuid:{SID}",
        SID + "\n",
        "g" * 36,
        "-" * 36,
        SID.replace("-", "--"),
        SID[:18] + SID[18:].replace("-", ""),
    ],
)
def test_a_session_id_that_is_no_uuid(text: str) -> None:
    """Refused by a sentence that shows what came, shortened."""
    with pytest.raises(InvalidParameter, match=r"is not a UUID such as") as caught:
        parse_poll(text, b"")

    assert caught.value.parameter == "session_id"
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


@given(
    total=st.integers(0, 5000),
    limit=st.integers(1, 1000),
    page=st.one_of(st.integers(1, 40), st.integers(1, MAX_PAGE)),
)
def test_pagination_is_plain_arithmetic(total: int, limit: int, page: int) -> None:
    """The rendered numbers are those that cutting a list into pages gives."""
    poll = Poll(SID, limit=limit, page=page)
    starts = list(range(0, total, limit))
    body = orjson.loads(render(b"", total, poll))

    assert body == {
        "items": [],
        "total": total,
        "pagination": {
            "page": page,
            "per_page": limit,
            "total": total,
            "total_pages": len(starts),
            "has_next": page < len(starts),
            "has_prev": page > 1,
        },
    }
    assert poll.offset == limit * (page - 1)
    assert (poll.offset in starts) == (page <= len(starts))


def test_a_page_is_kept_byte_for_byte() -> None:
    """Events are joined, never parsed: 400 digits and odd spacing come through."""
    page = b'{"n": %b,  "t":"\\u0000"},{}' % (b"9" * 400)

    assert render(page, 2, Poll(SID)).startswith(b'{"items":[' + page + b'],"total":2,')
