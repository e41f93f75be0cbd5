"""The whole service under random writers, pollers and faults: no answer may be wrong.

`make test` runs it for some seconds; `make chaos` for ten minutes (SITE=…, SECONDS=…, SEED=…).
"""

from pathlib import Path

from tests.oracle.chaos import look_for_wrong_answers
from tests.oracle.installation import Installation, only
from tests.oracle.redis_faults import RedisFaults
from tests.oracle.servers import preparing_postgres
from tests.support.servers import embedded_redis, server_directory


async def test_no_answer_is_wrong(tmp_path: Path, seed: int, seconds: float) -> None:
    """Every answer fits a state between its as-of and its receipt; in the end everything equals Postgres."""
    with server_directory() as directory:
        async with preparing_postgres() as postgres, embedded_redis(directory) as redis:
            url = postgres.url()
            await look_for_wrong_answers(
                seed,
                seconds,
                Installation("one", postgres, url, redis.url(), only(redis), lambda site: [RedisFaults(site, redis)]),
                tmp_path,
            )
