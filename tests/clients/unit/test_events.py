"""Events as values: their own text, their payload exactly, their instant."""

import json
import pickle
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readside_client import Event, Page
from readside_client.exact_json import ExactJson
from readside_client.instants import FIRST_US, LAST_US, printed, timestamp_us
from readside_client.protocol import answer_of
from tests.clients.answering import SESSION, Answering, query
from tests.clients.json_texts import POINTED, WHOLE, Told, same, scalars, values

CHARACTERS = st.characters()
PAYLOADS = values(scalars(WHOLE | POINTED, CHARACTERS), CHARACTERS)
DEEP = "[" * 3000 + "1e5000" + "]" * 3000
EXACT = ExactJson(Decimal)


def event_json(event_data: str = "{}", timestamp: str = "2026-01-13T14:30:00.123456Z", **more: Any) -> str:
    """An event as the API prints it."""
    fields = {"id": "0", "session_id": SESSION, "step_id": None, "event_type": "step_created", **more}
    head = json.dumps(fields)[:-1]
    return f'{head}, "event_data":{event_data},"message":null,"timestamp":"{timestamp}"}}'


def answered(events: list[str], exact: ExactJson = EXACT) -> tuple[Event, ...]:
    """What an answer of these texts gives."""
    _, headers, body = Answering().found(query().request(limit=1000))
    page = answer_of(200, headers, body.replace(b'"items": []', f'"items": [{",".join(events)}]'.encode()), exact)
    assert isinstance(page, Page)
    return page.items


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(PAYLOADS, min_size=1, max_size=4))
def test_event_data_is_what_the_text_says(payloads: list[Told]) -> None:
    """Of each event of an answer, and its text is at hand, to the character."""
    events = answered([event_json(text) for text, _ in payloads])

    assert [event.event_data_json for event in events] == [text for text, _ in payloads]
    assert all(same(event.event_data, value) for event, (_, value) in zip(events, payloads, strict=True))
    assert [event.json for event in events] == [event_json(text) for text, _ in payloads]


def test_one_event_hides_none_of_its_neighbours() -> None:
    """However deep, and with an integer that Python does not convert."""
    texts = [event_json('{"n":1}'), event_json(DEEP), event_json('{"n":' + "9" * 5000 + "}"), event_json('{"n":2}')]

    assert [event.json for event in answered(texts)] == texts


def test_what_stands_where_is_no_matter() -> None:
    """Other members, another order, blanks, a payload that looks like an event."""
    text = event_json('{"event_data":{"event_data":1}, "timestamp":"x"}', more=[{"id": "},{"}], message="no")
    (event,) = answered([text.replace(', "', ' ,\n "')])

    assert event.event_data == {"event_data": {"event_data": 1}, "timestamp": "x"}
    assert event.message is None


def test_an_event_is_shown_compared_hashed_and_pickled_by_its_text() -> None:
    """Which no depth and no number of digits can break."""
    one, other = answered([event_json(DEEP)])[0], answered([event_json(DEEP)], ExactJson())[0]
    different = answered([event_json(f"[{DEEP}]")])[0]

    assert one == other
    assert one != different
    assert len({one, other, different}) == 2
    assert repr(one) == f"Event.from_json({one.json!r})"
    shallow = answered([event_json()])[0]
    assert pickle.loads(pickle.dumps(shallow)) == shallow


def test_an_event_can_be_stored_and_read_again() -> None:
    """From its text."""
    (event,) = answered([event_json('{"price":1.10}')])
    again = Event.from_json(event.json, Decimal)

    assert again == event
    assert str(again.event_data["price"]) == "1.10"
    assert Event.from_json(event.json).event_data == {"price": 1.1}
    for wrong in ("", "[]", "1", "{}", event.json + ",", '{"id":"1"}'):
        with pytest.raises(ValueError, match=r"ends early|no event|more follows"):
            Event.from_json(wrong)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(FIRST_US, LAST_US))
def test_an_instant_is_its_text(instant_us: int) -> None:
    """To the microsecond, from the year 1 to 9999."""
    event = Event.from_json(event_json(timestamp=printed(instant_us)))
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant_us)

    assert (event.timestamp_us, event.at) == (instant_us, at)
    assert event.timestamp == printed(instant_us)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("-infinity", "4714-11-24 00:00:00+00 BC"),
        ("0045-12-31 23:59:59.999999+00 BC", "0044-01-01 00:00:00+00 BC"),
        ("0001-12-31 23:59:59.999999+00 BC", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.999999Z", "10000-01-01 00:00:00+00"),
        ("15000-01-01 00:00:00+00", "15000-01-01 00:00:00.5+00"),
        ("294276-12-31 23:59:59.999999+00", "infinity"),
    ],
)
def test_timestamps_that_no_datetime_holds_are_in_order(earlier: str, later: str) -> None:
    """Infinity, BC and years past 9999, as Postgres prints them; they have no datetime, and say so."""
    events = [Event.from_json(event_json(timestamp=text)) for text in (earlier, later)]

    assert events[0].timestamp_us < events[1].timestamp_us
    assert [event.at is None for event in events] == [not text.endswith("Z") for text in (earlier, later)]


def test_a_microsecond_lies_between_the_years() -> None:
    """Before and after each turn of an era."""
    turns = [("0001-12-31 23:59:59.999999+00 BC", "0001-01-01T00:00:00.000000Z"),
             ("9999-12-31T23:59:59.999999Z", "10000-01-01 00:00:00+00")]  # fmt: skip

    assert [timestamp_us(after) - timestamp_us(before) for before, after in turns] == [1, 1]


def test_leap_days_of_years_bc_are_counted() -> None:
    """1 BC is a leap year of the Gregorian calendar, 101 BC is none."""
    day_us = 86_400_000_000
    lengths = [
        timestamp_us(f"{year:04}-03-01 00:00:00+00 BC") - timestamp_us(f"{year:04}-02-28 00:00:00+00 BC")
        for year in (1, 4, 5, 101, 401)
    ]

    assert lengths == [2 * day_us, day_us, 2 * day_us, day_us, 2 * day_us]
