"""What a stream's requests mean, its cursor, its pages, and the end that memory keeps."""

from types import SimpleNamespace
from typing import cast

import pytest

from query_api.http.request_fields import RequestFields
from query_api.memory.answers import AsOf, Number
from query_api.memory.response_cache import ResponseCache
from query_api.memory.staleness import Staleness
from query_api.memory.stream_page import MAX_ANSWERS, StreamEnd, StreamFinding, StreamPage, is_no_news
from query_api.streams.cursor import EPOCH_SECONDS, INTERVAL_SECONDS, MOST_AHEAD, next_cursor
from query_api.streams.request import StreamRequest, parse_stream
from query_api.streams.stream import Stream, StreamQuestion
from query_api.streams.waiter import StreamWaiter
from readmodel.errors import InvalidParameter
from readmodel.values.arrivals import StreamRead
from readmodel.values.cut import Cut
from readmodel.values.messages import Change
from readmodel.values.offset import Offset, Within, memory_of
from tests.support.viewing import event

SID = "7d444840-9dc0-41d1-b245-5ffdce74fad2"
AT = Offset("01234567", Cut(100, frozenset({90})))
NOW = EPOCH_SECONDS + 1_000 * INTERVAL_SECONDS + 7


def page(*types: str, up_to_date: bool = True) -> StreamPage:
    """Events of these types."""
    members = [event(SID, number, name).member for number, name in enumerate(types)]
    return StreamPage(SID, members, AT, up_to_date=up_to_date)


@pytest.mark.parametrize("own", [None, 0, 999])
def test_a_cursor_is_the_interval(own: int | None) -> None:
    """Of twenty seconds, since the protocol's epoch."""
    assert next_cursor(own, NOW) == 1_000


@pytest.mark.parametrize("own", [1_000, 1_001, 10**17])
def test_who_is_ahead_gets_a_later_cursor(own: int) -> None:
    """A clock that was set back has nobody's cursor go back."""
    assert own < next_cursor(own, NOW) <= own + MOST_AHEAD
    assert next_cursor(own, EPOCH_SECONDS - 1) > own


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", StreamRequest(SID)),
        ("offset=-1", StreamRequest(SID)),
        ("live=long-poll", StreamRequest(SID, is_live=True)),
        ("offset=now&cursor=7", StreamRequest(SID, from_now=True, cursor=7)),
        (f"offset={AT.text}&_=1", StreamRequest(SID, AT)),
        ("event_type=b&type=a,b", StreamRequest(SID, types=("a", "b"))),
    ],
)
def test_what_a_request_means(query: str, expected: StreamRequest) -> None:
    """What is not said is the start, at once, of all types."""
    assert parse_stream(SID.upper(), query.encode()) == expected


def test_types_are_bounded_however_they_are_written() -> None:
    """A hundred in one value, as in a hundred."""
    names = [f"a{'b' * (number % 50)}{'c' * (number // 50)}" for number in range(101)]
    with pytest.raises(InvalidParameter, match="101"):
        parse_stream(SID, f"event_type={','.join(names)}".encode())
    assert len(parse_stream(SID, f"event_type={','.join(names[:100])}".encode()).types) == 100


@pytest.mark.parametrize(("query", "expected"), [("", True), ("offset=now", True), (f"offset={AT.text}", False)])
def test_only_what_comes_again_is_remembered(query: str, expected: bool) -> None:
    """A place is left behind, and a long poll brings another cursor."""
    assert parse_stream(SID, query.encode()).comes_again is expected
    assert not parse_stream(SID, f"{query}&live=long-poll".encode()).comes_again


def test_a_page_is_rendered_once_for_all_who_ask_the_same() -> None:
    """By types; a few of them are kept."""
    made = page("step_created", "workflow_failed")

    assert made.answer(()) is made.answer(())
    assert made.answer(("workflow_failed",)).body == b"[%b]" % made.events[1]
    assert made.answer(("unheard_of",)).body == b"[]"
    for number in range(MAX_ANSWERS):
        made.answer(("x" * (number + 1),))
    assert len(made._answers) == MAX_ANSWERS


def test_an_etag_is_of_all_that_a_page_says() -> None:
    """The same events before another offset, or before more, are another answer."""
    further = Offset(AT.origin, Cut(101, frozenset()))
    pages = [page("a"), page("a", up_to_date=False), StreamPage(SID, page("a").events, further, up_to_date=True)]
    assert len({each.answer(()).etag for each in pages}) == 3


@pytest.mark.parametrize(
    ("offset", "is_at_the_end"),
    [
        (AT, True),
        (Offset(AT.origin, Cut(200, frozenset({90, 150}))), True),
        (Offset(AT.origin, Cut(100, frozenset({80, 90}))), False),
        (Offset(AT.origin, Cut(99, frozenset())), False),
        (Offset("76543210", AT.cut), False),
        (AT._replace(within=Within(Cut(200, frozenset()), 0, bytes(16))), False),
    ],
)
def test_who_was_given_all_is_at_the_end(offset: Offset, is_at_the_end: bool) -> None:
    """Whatever its offset is, if it shows what the end shows, of the same history, and is no place in a page."""
    assert StreamEnd(SID, AT).is_behind(offset) is is_at_the_end


@pytest.mark.parametrize(
    ("found", "types", "expected"),
    [
        (page(), (), True),
        (page("a"), (), False),
        (page("a"), ("b",), True),
        (page("a", up_to_date=False), ("b",), False),
        (None, (), False),
    ],
)
def test_what_is_news(found: StreamPage | None, types: tuple[str, ...], expected: bool) -> None:
    """An event of the types, more to come, or that there is no such session."""
    finding = StreamFinding("redis", found, AsOf(0, 0.0), is_followed=True)
    assert is_no_news(finding, types) is expected
    assert is_no_news(finding.lean(), ()) is (found is not None and found.up_to_date)


def test_memory_keeps_the_end_until_a_message_names_the_session() -> None:
    """And pages by their offsets."""
    cache = ResponseCache(1_000_000)
    cache.hear(Change("t", 1, 1_000_000, 0, ()), 10.0)
    number, read = Number("t", 1), StreamRead(SID, AT)
    kept = page("a")

    assert cache.store_end(StreamEnd(SID, AT), AsOf(900_000, 9.9), number)
    assert cache.store_arrivals(read, kept, AsOf(900_000, 9.9), number)
    assert cache.end_of(SID, 10.0, 5.0) == (StreamEnd(SID, AT), AsOf(1_000_000, 10.0))
    assert cache.arrivals(read, 10.0, 5.0) == (kept, AsOf(1_000_000, 10.0))
    assert cache.end_of(SID, 16.0, 5.0) is None
    cache.hear(Change("t", 2, None, None, (SID,)), 10.0)
    assert (cache.end_of(SID, 10.0, 5.0), cache.arrivals(read, 10.0, 5.0), cache.bytes) == (None, None, 0)
    assert not cache.store_end(StreamEnd(SID, AT), AsOf(900_000, 9.9), number)


def test_memory_counts_what_offsets_take() -> None:
    """Those that came in too: each of many open ids."""
    cache, number, lag = ResponseCache(1_000_000), Number("t", 1), AsOf(900_000, 9.9)
    cache.hear(Change("t", 1, 1_000_000, 0, ()), 10.0)
    busy = Offset(AT.origin, Cut(1_000, frozenset(range(500))))

    assert cache.store_arrivals(StreamRead(SID, busy), StreamPage(SID, (), busy, up_to_date=False), lag, number)
    assert cache.bytes > 2 * memory_of(busy)
    before = cache.bytes
    assert cache.store_end(StreamEnd(SID, busy), lag, number)
    assert cache.bytes - before > memory_of(busy)


@pytest.mark.parametrize(("types", "is_answered"), [("a", True), ("b", False)])
def test_a_held_poll_reads_on_behind_a_page_of_other_types(types: str, is_answered: bool) -> None:
    """One that others left in memory, and that is not the end: an empty answer would say nothing."""
    question = StreamQuestion(
        "GET", SID, f"offset={AT.text}&live=long-poll&event_type={types}".encode(), RequestFields()
    )
    question.parse(Staleness(10, explicit=False))
    found = StreamFinding("memory", page("a", up_to_date=False), AsOf(0, 0.0), is_followed=True)
    stream = SimpleNamespace(kept=lambda *_: found)

    assert (StreamWaiter(cast("Stream", stream), question, None, 0.0, "").kept(0.0) is found) is is_answered
