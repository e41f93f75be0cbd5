"""A page of 100 that does not change, sent whole each time, from memory, beside the same peers; and its 304.

Unchanged means what it meant in version 0.1's row: nothing is written, and 200 with all bytes is what each poll gets.
What a client gets that says which page it has, the 304, stands in a row of its own.
"""

from bench.contest import LUA, POSTGRES_APP
from bench.rows.hot_polls import beside_peers
from bench.rows.polling import EVENTS_PATH
from bench.stack import Servers
from bench.table import Measurement, Target

NAME = "page"
WANTED = {LUA: Target(1), POSTGRES_APP: Target(40)}
UNMODIFIED = "page of 100, unchanged, 304 for its ETag,"


async def measure(servers: Servers) -> Measurement:
    """Poll for the newest page."""
    return await beside_peers(
        servers, "page of 100, unchanged, sent whole,", _newest_page, WANTED, unmodified=UNMODIFIED
    )


async def _newest_page(_port: int) -> str:
    return f"{EVENTS_PATH}?limit=100"
