"""Events at random: instants of Postgres' whole range, payloads of any depth, numbers, Unicode and sizes.

Each source gives the same bytes, and they are what plain SQL makes of the rows.
"""

from __future__ import annotations

import json
import string
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import NamedTuple
from uuid import UUID, uuid4

import pytest
from hypothesis import strategies as st

from tests.integration.test_event_bytes import PLAIN_JSON
from tests.support.drawing import drawn
from tests.support.waiting import eventually
from tests.support.whole import Whole, whole_service

pytestmark = pytest.mark.installed


FIRST_US, LAST_US = -211_813_488_000_000_000, 9_223_371_331_199_999_999
"""Of timestamptz: microseconds since 2000, from 4713 BC to 294276."""
SCORED_US = (-(2**53) - 946_684_800_000_000 + 1_000_000, 2**53 - 946_684_800_000_000 - 1_000_000)
"""What a sorted set can hold."""
INSERT = """
INSERT INTO events (id, session_id, step_id, event_type, event_data, message, timestamp)
VALUES ($1, $2, $3, $4, $5::text::jsonb, $6,
        coalesce($8::text::timestamptz, '2000-01-01 00:00:00+00'::timestamptz
          + $7::bigint / 1000000 * interval '1 s' + $7::bigint % 1000000 * interval '1 us'))
"""
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
NUMBER = st.builds(  # of the regular expression -?(0|[1-9][0-9]{0,60})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?
    "{}{}{}{}".format,
    st.sampled_from(["", "-"]),
    st.just("0") | st.builds("{}{}".format, st.sampled_from("123456789"), st.text(string.digits, max_size=60)),
    st.just("") | st.text(string.digits, min_size=1, max_size=40).map(".{}".format),
    st.just("")
    | st.builds(
        "{}{}{}".format,
        st.sampled_from("eE"),
        st.sampled_from(["", "+", "-"]),
        st.text(string.digits, min_size=1, max_size=3),
    ),
)
DEEP = st.integers(1, 4_000).flatmap(
    lambda depth: st.sampled_from(["[" * depth + "7" + "]" * depth, '{"a": ' * depth + "[]" + "}" * depth])
)
LONG = (
    st.tuples(TEXT, st.integers(1, 20_000))
    .map(lambda pair: json.dumps(pair[0] * pair[1])[:200_000])
    .filter(lambda text: text.endswith('"'))
)
JSON = st.recursive(
    NUMBER | st.sampled_from(["null", "true", "false"]) | st.builds(json.dumps, TEXT, ensure_ascii=st.booleans()),
    lambda inner: (
        st.lists(inner, max_size=5).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(TEXT.map(json.dumps), inner), max_size=5).map(
            lambda pairs: "{" + ",".join(f"{name}: {value}" for name, value in pairs) + "}"
        )
    ),
    max_leaves=20,
)


class Drawn(NamedTuple):
    """An event; `infinite` is its timestamp where that is no number."""

    step_id: UUID | None
    event_type: str
    data: str
    message: str | None
    timestamp_us: int
    infinite: str | None


def events(instants: st.SearchStrategy[int], infinite: st.SearchStrategy[str | None]) -> st.SearchStrategy[list[Drawn]]:
    """Draw a session's events, some of one instant."""
    one = st.builds(
        Drawn,
        st.none() | st.uuids(),
        st.sampled_from(["step_created", "artifact_created"]) | TEXT,
        JSON | DEEP | LONG,
        st.none() | TEXT,
        instants,
        infinite,
    )
    return st.lists(one, min_size=5, max_size=25)


NEAR_EDGES = st.sampled_from([FIRST_US, LAST_US, -946_684_800_000_000, 0, *SCORED_US]).flatmap(
    lambda edge: st.integers(max(FIRST_US, edge - 3), min(LAST_US, edge + 3))
)
ANY = events(st.integers(FIRST_US, LAST_US) | NEAR_EDGES, st.sampled_from([None, None, None, "infinity", "-infinity"]))
HELD_EDGES = st.integers(0, 5) | st.integers(0, 5).map(lambda us: SCORED_US[0] + us)  # microseconds apart, where floats
HELD_EDGES |= st.integers(0, 5).map(lambda us: SCORED_US[1] - us)  # of seconds are the same
HELD = events(st.integers(*SCORED_US) | HELD_EDGES, st.none())


@pytest.fixture
async def whole(database_url: str, redis_url: str) -> AsyncIterator[Whole]:
    """Everything, live."""
    async with whole_service(database_url, redis_url) as made:
        yield made


async def _written(whole: Whole, written: list[Drawn]) -> tuple[str, bytes]:
    """Insert a session; gives it and what a page of it must hold, as plain SQL prints it."""
    session_id, connection = await whole.bench.writer.session(), whole.bench.writer.connection
    await connection.executemany(INSERT, [(uuid4(), UUID(session_id), *event) for event in written])
    rows = await connection.fetch(
        f"SELECT {PLAIN_JSON} FROM events e WHERE session_id = $1 ORDER BY timestamp DESC, id DESC", UUID(session_id)
    )
    return session_id, b",".join(row[0].encode() for row in rows)


def _page(expected: bytes, count: int) -> bytes:
    pagination = f'{{"page":1,"per_page":1000,"total":{count},"total_pages":1,"has_next":false,"has_prev":false}}'
    return b'{"items":[' + expected + f'],"total":{count},"pagination":{pagination}}}'.encode()


async def test_events_that_redis_holds(whole: Whole) -> None:
    """From Redis, memory and Postgres, byte for byte what Postgres holds."""
    await whole.bench.writer.connection.execute("SET timezone = 'UTC'")
    sources: Counter[str] = Counter()
    for written in drawn(HELD, 15):
        session_id, expected = await _written(whole, written)
        await whole.hot(session_id)  # by polls: a load that failed is tried again when somebody asks
        await whole.bench.same(session_id, limit=1000)
        wanted = _page(expected, len(written))

        answer = await whole.poll(session_id, "?limit=1000")
        sources[answer.headers["readside-source"]] += 1
        assert answer.content == wanted
        assert (await whole.served(session_id, "memory", "?limit=1000")).content == wanted
        assert (await whole.poll(session_id, "?limit=1000", readside_max_staleness="0")).content == wanted

    # Postgres answers in the place of a Redis that takes too long: on a busy machine it does now and then.
    assert sources["redis"] > sources["postgres"], sources


async def test_events_of_any_instant(whole: Whole) -> None:
    """Postgres answers for those that Redis cannot hold; asked twice, and once more when they have been set aside."""
    await whole.bench.writer.connection.execute("SET timezone = 'UTC'")
    for written in drawn(ANY, 15):
        session_id, expected = await _written(whole, written)
        wanted = _page(expected, len(written))

        for staleness in ("0", "5", "5"):
            answer = await whole.poll(session_id, "?limit=1000", readside_max_staleness=staleness)
            older = staleness != "0" and b'"total":0' in answer.content  # from before the events
            assert answer.content == wanted or older, staleness
        await eventually(partial(_is, whole, session_id, wanted), "every source shows them")


async def _is(whole: Whole, session_id: str, wanted: bytes) -> bool:
    return (await whole.poll(session_id, "?limit=1000")).content == wanted
