"""Sessions of very uneven events, under bounds that cut their pages: every source gives the same bytes."""

import random
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from projector.core.operations import Put
from query_api.sources import view_reads
from readmodel.values.freshness import rfc3339
from tests.fakes.event_log import Row
from tests.support.stands import NOON_US, Stand, real_stand

TYPES = ["step_created", "workflow_error", "absent"]
STEPS = [f"{number:08}-3333-4333-8333-333333333333" for number in range(3)]
LONG_BYTES = 3_000
POLLS = 60


async def uneven(stand: Stand, chance: random.Random) -> str:
    """Make a hot session, held in part perhaps, whose instants repeat; gives its id."""
    session_id, count = str(uuid4()), chance.choice([1, 40, 250])
    rows = [
        Row(
            session_id,
            NOON_US + chance.choice([0, 0, 1, 5, -3]) * chance.choice([1, 1_000_000]),
            chance.choice([*TYPES[:2], "Odd"]),
            {"text": "x" * chance.choice([0, 0, 50, 300, 2_000])},
            step_id=chance.choice([None, *STEPS]),
        )
        for _ in range(count)
    ]
    await stand.write(session_id, rows)
    held = chance.choice([None, max(1, count // 4)])
    staged = await stand.stage.staged([row.event() for row in rows], held=held)
    await stand.stage.apply(Put(session_id, staged), named=[session_id])
    await stand.beat()
    return session_id


def question(chance: random.Random) -> str:
    """Any parameters together."""
    given: list[tuple[str, object]] = []
    if chance.random() < 0.5:
        given.append(("since", rfc3339(NOON_US + chance.choice([-(10**7), -3, -1, 0, 1, 5, 10**6, 10**9]))))
    given += [("event_type", name) for name in chance.sample(TYPES, chance.choice([0, 0, 1, 2]))]
    given += [("step_id", step) for step in chance.sample(STEPS, chance.choice([0, 0, 1, 2]))]
    if chance.random() < 0.4:
        given.append(("limit", chance.choice([1, 7, 100, 1000])))
    if chance.random() < 0.5:
        given.append(("page", chance.choice([1, 2, 3, 10**9])))
    if chance.random() < 0.5:
        given.append(("order", chance.choice(["asc", "desc"])))
    return f"?{urlencode(given)}"


@pytest.mark.parametrize("max_bytes", [3_000, 20_000, 32_000_000])
async def test_every_source_gives_the_same_bytes(
    max_bytes: int, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis or Postgres, then memory, then Postgres itself; no answer is longer than the bound."""
    monkeypatch.setattr(view_reads, "LONG_BYTES", LONG_BYTES)
    chance, sources, statuses = random.Random(max_bytes), set(), set()
    async with real_stand(database_url, redis_url, max_answer_bytes=max_bytes) as stand:
        for _ in range(4):
            session_id = await uneven(stand, chance)
            for query in (question(chance) for _ in range(POLLS)):
                first, again = [await stand.poll(session_id, query) for _ in range(2)]
                log = await stand.poll(session_id, query, readside_max_staleness="0")

                assert first.content == again.content == log.content, query
                assert len(log.content) <= max_bytes
                sources |= {answer.headers.get("readside-source") for answer in (first, again, log)}
                statuses.add(log.status_code)

    assert sources >= {"redis", "memory", "postgres"}
    assert statuses <= {200, 400}
