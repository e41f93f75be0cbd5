"""The same over a Redis that sentinels watch, with two replicas."""

from pathlib import Path

from tests.oracle.chaos import look_for_wrong_answers
from tests.oracle.installation import Installation
from tests.oracle.sentinel_faults import SentinelFaults
from tests.oracle.servers import preparing_postgres
from tests.support.redis_clusters import Node
from tests.support.sentinels import watched_redis


async def test_no_answer_is_wrong_over_sentinels(tmp_path: Path, seed: int, seconds: float) -> None:
    """Every answer fits a state between its as-of and its receipt; in the end everything equals Postgres."""
    async with preparing_postgres() as postgres, watched_redis() as watched:

        async def master_of(_slot: int) -> Node:
            return await watched.master()

        built_on = Installation(
            "sentinel", postgres, postgres.url(), watched.url(), master_of, lambda site: [SentinelFaults(site, watched)]
        )
        await look_for_wrong_answers(seed, seconds, built_on, tmp_path)
