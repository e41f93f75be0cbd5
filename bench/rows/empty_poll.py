"""A poll that finds nothing new, from memory, beside bare servers, nginx, and the endpoint on Redis and Postgres."""

from bench.contest import BARE, LUA, MICRO_CACHE, POSTGRES_APP, nothing_new
from bench.rows.hot_polls import beside_peers
from bench.rows.polling import EVENTS_PATH
from bench.stack import Servers
from bench.table import Measurement, Target

NAME = "empty-poll"
WANTED = {BARE: Target(2), LUA: Target(2), MICRO_CACHE: Target(1), POSTGRES_APP: Target(20)}
"""What nginx keeps is stale and blind to keys; the endpoint on Postgres counts 10,000 events each time."""
OF_TWO = Target(1.5)


async def measure(servers: Servers) -> Measurement:
    """Poll for what is newer than the newest event."""
    return await beside_peers(servers, "empty poll", lambda port: nothing_new(port, EVENTS_PATH), WANTED, of_two=OF_TWO)
