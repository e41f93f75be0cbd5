"""Payloads and timestamps of every kind through the real API: what the client gives is what Postgres holds."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from readside.api import opened
from readside_client import AsyncClient, Event
from tests.clients.json_texts import CHARACTERS, POINTED, POWERED, WHOLE, Told, equal, scalars, values
from tests.support.builders import READ_KEY, api_config, serving
from tests.support.projecting import Writer
from tests.support.servers import connected

NUMBERS = WHOLE | POINTED | POWERED
EXAMPLES = settings(
    max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Postgres rounds the epoch's microseconds in the last years of its range, and whole seconds nowhere.
HELD = """
SELECT id::text, event_data::text AS payload, timestamp::text AS printed,
       CASE WHEN isfinite(timestamp) THEN extract(epoch FROM date_trunc('second', timestamp)) * 1000000
         + extract(microseconds FROM timestamp)::bigint % 1000000 END AS instant_us
FROM events WHERE session_id = $1::uuid ORDER BY timestamp DESC, id DESC
"""

pytestmark = pytest.mark.installed


@pytest.fixture
async def writer(database_url: str) -> AsyncIterator[Writer]:
    """The write side; what streams need is installed."""
    async with connected(database_url) as connection:
        await connection.execute("SET timezone TO 'UTC'; SET datestyle TO 'ISO'")
        yield Writer(connection)


@pytest.fixture
async def client(database_url: str, redis_url: str) -> AsyncIterator[AsyncClient]:
    """A client of an API on a port of its own, which makes Decimals."""
    async with (
        opened(api_config(database_url, redis_url)) as app,
        serving(app) as url,
        AsyncClient(url, READ_KEY, parse_float=Decimal) as made,
    ):
        yield made


async def followed(client: AsyncClient, session_id: str, count: int) -> dict[str, Event]:
    """The first events that come of a session, by id."""
    found: dict[str, Event] = {}
    async with aclosing(client.follow(session_id)) as events:
        async for event in events:
            found[event.id] = event
            if len(found) == count:
                break
    return found


@EXAMPLES
@given(st.lists(values(scalars(NUMBERS, CHARACTERS), CHARACTERS), min_size=1, max_size=8))
async def test_payloads_come_as_postgres_holds_them(client: AsyncClient, writer: Writer, payloads: list[Told]) -> None:
    """Their text to the character, their values to the digit; however deep, and whatever the script."""
    session_id = await writer.session()
    ids = [await writer.event(session_id, data=text) for text, _ in payloads]
    found = await followed(client, session_id, len(ids))
    held = {row["id"]: row["payload"] for row in await writer.connection.fetch(HELD, session_id)}

    assert {event.id: event.event_data_json for event in found.values()} == held
    assert all(equal(found[event_id].event_data, value) for event_id, (_, value) in zip(ids, payloads, strict=True))


@pytest.mark.parametrize(
    "text",
    ["[" * 3000 + "]" * 3000, '{"n":1e5000}', '{"n":' + "9" * 5000 + "}", '{"n":' + "7" * 400 + ".5}", '{"n":1.10}'],
    ids=["3,000 levels", "1e5000", "5,000 digits", "400 digits and a point", "1.10"],
)
async def test_an_event_that_stopped_clients_comes_among_others(client: AsyncClient, writer: Writer, text: str) -> None:
    """In a page and to who follows."""
    session_id = await writer.session()
    ids = [await writer.event(session_id, data=payload) for payload in ("[1]", text, "[2]")]
    page = await client.events(session_id, max_staleness_seconds=0)
    found = await followed(client, session_id, 3)

    assert sorted(found) == sorted(event.id for event in page.items) == sorted(ids)
    assert found[ids[1]].event_data_json == await writer.connection.fetchval("SELECT $1::jsonb::text", text)


INSTANTS = st.one_of(
    st.builds(
        lambda year, month, day, clock: f"{abs(year):04}-{month:02}-{day:02} {clock}+00{' BC' if year < 0 else ''}",
        st.integers(-4713, 294275).filter(bool) | st.integers(-3, 3).filter(bool) | st.integers(9998, 10001),
        st.integers(1, 12),
        st.integers(1, 28),
        st.times().map(lambda time: time.isoformat()),
    ).filter(lambda text: not text.startswith("4713") or "BC" not in text or text[5:7] == "12"),
    st.sampled_from(["infinity", "-infinity", "4713-11-24 00:00:00+00 BC", "294276-12-31 23:59:59.999999+00"]),
)


@EXAMPLES
@given(st.lists(INSTANTS, min_size=1, max_size=12))
async def test_timestamps_come_as_postgres_holds_them(client: AsyncClient, writer: Writer, instants: list[str]) -> None:
    """Over its whole range: in its order, to the microsecond, and as a datetime where one can hold it."""
    session_id = await writer.session()
    for instant in instants:
        await writer.event(session_id, timestamp=instant)
    page = await client.events(session_id, max_staleness_seconds=0)
    held = await writer.connection.fetch(HELD, session_id)

    assert [event.id for event in page.items] == [row["id"] for row in held]
    for event, row in zip(page.items, held, strict=True):
        infinite = {"infinity": 2**64, "-infinity": -(2**64)}
        assert event.timestamp_us == infinite.get(row["printed"], row["instant_us"])
        assert (event.at is None) == (not event.timestamp.endswith("Z"))
        assert event.at is None or event.timestamp == f"{event.at.replace(tzinfo=None).isoformat('T', 'microseconds')}Z"
    assert [it.timestamp_us for it in page.items] == sorted((it.timestamp_us for it in page.items), reverse=True)
