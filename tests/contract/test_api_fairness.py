"""One key's queries of Postgres do not stand in another's way, over both ways in."""

import asyncio
from typing import get_args
from uuid import uuid4

import pytest

from readmodel.values.poll import Poll
from tests.support.builders import OPS_KEY, READ_KEY, Way
from tests.support.stands import FakeWriteSide, fake_stand, rows
from tests.support.waiting import eventually


@pytest.mark.parametrize("way", get_args(Way))
async def test_a_key_that_fills_its_line_delays_no_other(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """All its places are taken, its line is full: the other key's query is sent at once, and answered."""
    monkeypatch.setattr("query_api.sources.reader.REFUSED_SECONDS", 0.0)
    async with fake_stand(way) as stand:
        assert isinstance(stand.side, FakeWriteSide)
        session_id, log = str(uuid4()), stand.side.log
        await stand.write(session_id, rows(session_id, 3))
        log.hold()
        before = len(log.queries)
        storm = [
            asyncio.create_task(stand.poll(session_id, f"?page={page}", x_api_key=READ_KEY)) for page in range(1, 101)
        ]
        await eventually(lambda: any(task.done() for task in storm), "the first is refused")
        hogs = len(log.queries) - before
        asked = asyncio.create_task(stand.poll(session_id, "?limit=1"))
        await eventually(lambda: len(log.queries) - before > hogs, "another's query is sent")
        log.release()
        answers = await asyncio.gather(*storm)

        assert log.queries[before + hogs] == Poll(session_id, limit=1)
        assert (await asked).status_code == 200
        assert {answer.status_code for answer in answers} == {200, 503}


async def test_a_key_that_may_not_read_takes_no_place() -> None:
    """Who is refused by the gate is nobody to the stores."""
    async with fake_stand() as stand:
        assert isinstance(stand.side, FakeWriteSide)
        before = len(stand.side.log.queries)
        refused = await stand.poll(str(uuid4()), x_api_key=OPS_KEY)

        assert refused.status_code == 403
        assert len(stand.side.log.queries) == before
