"""Types and statuses are compared by bytes, whatever their columns' collations take for the same.

Only a server that was built with ICU knows such collations. On others each test shows that, and no more.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import pytest
from hypothesis import strategies as st

from readmodel.values.event import is_askable
from tests.support.builders import api, api_config
from tests.support.drawing import drawn
from tests.support.projecting import Bench, bench
from tests.support.servers import connected
from tests.support.whole import Whole

pytestmark = pytest.mark.installed

BLIND = "CREATE COLLATION {0} (provider = icu, locale = '{1}', deterministic = false)"
LOCALES = {
    "blind to case": "und-u-ks-level2",
    "blind to case and accents": "und-u-ks-level1",
    "blind to punctuation": "und-u-ka-shifted-ks-level1",
    "digits by their value": "und-u-kn-ks-level2",
}
TYPES = ["step_created", "Step_Created", "STEP_CREATED", "stepcreated", "step_créated", "step_created", "step-created"]
BLIND_COLUMNS = """
ALTER TABLE events ALTER event_type TYPE varchar(100) COLLATE blind, ALTER message TYPE text COLLATE other;
ALTER TABLE sessions ALTER status TYPE varchar(20) COLLATE other
"""


async def knows(database_url: str, locale: str) -> bool:
    """Make a collation in which different texts are the same, where the server can."""
    async with connected(database_url) as connection:
        version = str(await connection.fetchval("SELECT setting FROM pg_config() WHERE name = 'CONFIGURE'"))
        if "--without-icu" in version or ("--with-icu" not in version and connection.get_server_version().major < 16):
            with pytest.raises(asyncpg.FeatureNotSupportedError, match="ICU"):
                await connection.execute(BLIND.format("blind", locale))
            return False
        await connection.execute(BLIND.format("blind", locale))
        await connection.execute(BLIND.format("other", "de-u-ks-level1"))
        await connection.execute(BLIND_COLUMNS)
    return True


@asynccontextmanager
async def collated(database_url: str, redis_url: str) -> AsyncIterator[Whole]:
    """Everything over these columns."""
    async with (
        bench(database_url, redis_url) as stage,
        stage.projector(),
        api(api_config(database_url, redis_url)) as client,
    ):
        await stage.caught_up()
        yield Whole(stage, client)


async def _write(stage: Bench, types: Sequence[str]) -> str:
    session_id = await stage.writer.session()
    for event_type in types:
        await stage.writer.event(session_id, event_type=event_type, message=event_type.upper())
    return session_id


@pytest.mark.parametrize("many", [0, 200], ids=["small", "read in parts"])
@pytest.mark.parametrize("locale", LOCALES.values(), ids=LOCALES)
async def test_types_are_counted_and_found_by_bytes(database_url: str, redis_url: str, locale: str, many: int) -> None:
    """From Redis and from Postgres, whichever way the session was loaded."""
    if not await knows(database_url, locale):
        return
    async with collated(database_url, redis_url) as whole:
        session_id = await _write(whole.bench, TYPES)
        for event_type in TYPES:
            await whole.bench.writer.events(session_id, many, event_type)
        await whole.client.post(f"/api/v2/sessions/{session_id}/warm")
        await whole.bench.hot(session_id)
        await whole.bench.caught_up()
        for wanted in ("step_created", "stepcreated", "step_creates"):
            redis = await whole.served(session_id, "memory", f"?event_type={wanted}&limit=1000")
            postgres = await whole.poll(session_id, f"?event_type={wanted}&limit=1000", readside_max_staleness="0")

            assert redis.content == postgres.content
            assert postgres.json()["total"] == TYPES.count(wanted) * (many + 1)


async def test_another_spelling_of_a_status_is_a_change(database_url: str, redis_url: str) -> None:
    """The view's status is the row's, byte for byte."""
    if not await knows(database_url, "und-u-ks-level2"):
        return
    async with collated(database_url, redis_url) as whole:
        session_id = await _write(whole.bench, ["step_created"])
        await whole.bench.hot(session_id)
        for status in ("COMPLETED", "completed", "Completed"):
            await whole.bench.writer.connection.execute("UPDATE sessions SET status = $1", status)

            assert (await whole.bench.same(session_id)).status == status


async def test_a_session_that_is_over_in_another_spelling_is_warmed(database_url: str, redis_url: str) -> None:
    """A status is one of the known ones byte for byte, or none of them."""
    if not await knows(database_url, "und-u-ks-level2"):
        return
    async with bench(database_url, redis_url) as stage:
        over, spelled = await stage.writer.session("completed"), await stage.writer.session("Completed")
        async with stage.projector():
            await stage.hot(spelled)

            assert not await stage.is_hot(over)


NEAR = st.lists(st.text(st.sampled_from("abABáÁ_-ß\u0301"), min_size=1, max_size=3), min_size=5, max_size=20)


async def test_any_types_are_counted_alike(database_url: str, redis_url: str) -> None:
    """Texts at random, near to each other: each poll's total is the same from both stores, and Python's count."""
    if not await knows(database_url, "und-u-ks-level1"):
        return
    async with collated(database_url, redis_url) as whole:
        for types in drawn(NEAR, 8):
            session_id = await _write(whole.bench, types)
            await whole.bench.hot(session_id)
            for wanted in filter(is_askable, {*types, "a", "b", "ab"}):
                page = await whole.bench.same(session_id, types=(wanted,))

                assert page.total == types.count(wanted)
