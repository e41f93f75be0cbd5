"""A page of 100 that does not change, from memory, beside the same peers."""

from bench.contest import LUA, POSTGRES_APP
from bench.rows.hot_polls import beside_peers
from bench.rows.polling import EVENTS_PATH
from bench.stack import Servers
from bench.table import Measurement, Target

NAME = "page"
WANTED = {LUA: Target(1), POSTGRES_APP: Target(40)}


async def measure(servers: Servers) -> Measurement:
    """Poll for the newest page."""
    return await beside_peers(servers, "page of 100", _newest_page, WANTED)


async def _newest_page(_port: int) -> str:
    return f"{EVENTS_PATH}?limit=100"
