"""The same over a primary of which a hot standby answers cold polls."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oracle.chaos import look_for_wrong_answers
from tests.oracle.installation import Installation, only
from tests.oracle.redis_faults import RedisFaults
from tests.oracle.servers import SETTINGS, prepare
from tests.oracle.standby_faults import OnlyStandby, StandbyFaults
from tests.support.replication import Replication, replication
from tests.support.servers import TEMPLATE, embedded_redis, server_directory

FEW_ARE_HOT = "16"
"""Hot sessions at most: more polls are cold than in other runs. With half of it a session may wait long to be hot."""


@pytest.fixture
def servers() -> Iterator[Replication]:
    """A primary of the test's own."""
    with replication(**SETTINGS) as made:
        yield made


async def test_no_answer_is_wrong_by_a_standby(tmp_path: Path, seed: int, seconds: float, servers: Replication) -> None:
    """Every answer fits a state between its as-of and its receipt, the standby's too, of which there are some."""
    primary, of_standby = servers.primary, {**SETTINGS, "max_standby_streaming_delay": "0"}
    standby = OnlyStandby(servers, of_standby)
    with server_directory() as directory:
        async with embedded_redis(directory) as redis, standby:
            await prepare(primary, primary.url(TEMPLATE))
            built_on = Installation(
                "standby",
                primary,
                primary.url(TEMPLATE),
                redis.url(),
                only(redis),
                lambda site: [StandbyFaults(site, standby), RedisFaults(site, redis)],
                settings={"REPLICA_URLS": standby.server.url(TEMPLATE), "MAX_HOT_SESSIONS": FEW_ARE_HOT},
            )
            report = await look_for_wrong_answers(seed, seconds, built_on, tmp_path)

    assert report.by_standbys > 0
