"""The same over a Redis Cluster: three masters with a replica each, 32 slices."""

from pathlib import Path

from tests.oracle.chaos import look_for_wrong_answers
from tests.oracle.cluster_faults import ClusterFaults
from tests.oracle.installation import Installation
from tests.oracle.servers import preparing_postgres
from tests.support.redis_clusters import redis_cluster

SLICES = 32
SETTINGS = {"MAX_HOT_SESSIONS": str(3 * SLICES)}


async def test_no_answer_is_wrong_over_a_cluster(tmp_path: Path, seed: int, seconds: float) -> None:
    """Every answer fits a state between its as-of and its receipt; in the end everything equals Postgres."""
    async with preparing_postgres() as postgres, redis_cluster(cuttable=True) as cluster:
        built_on = Installation(
            "cluster",
            postgres,
            postgres.url(),
            cluster.url(),
            cluster.master_of,
            lambda site: [ClusterFaults(site, cluster)],
            SLICES,
            SETTINGS,
        )
        await look_for_wrong_answers(seed, seconds, built_on, tmp_path)
