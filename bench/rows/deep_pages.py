"""What a page of a large session costs by its depth, from Postgres, one poll at a time: beside its first page."""

import time

from bench.events import fill
from bench.load import HEADERS
from bench.polling_client import PollingClient
from bench.rows.polling import EVENTS_PATH
from bench.stack import Servers
from bench.table import BenchError, Figure, Measurement, Row, Target
from readside.demo.processes import LOOPBACK

NAME = "deep-pages"
EVENTS, LIMIT, ROUNDS = 1_000_000, 100, 9
_PAGES = EVENTS // LIMIT
DEPTHS = {
    "page past what is hot (20,000 events)": 20_000 // LIMIT + 1,
    "page in the middle": _PAGES // 2,
    "last page": _PAGES,
    "page past the end": 2 * _PAGES,
}
NO_MORE = Target(2, at_most=True)
_NOBODYS_PREFIX = "nobodys"
"""No projector writes under this prefix of keys, so Postgres answers."""


async def measure(servers: Servers) -> Measurement:
    """Poll each depth in turns with the first page."""
    async with servers.site() as site:
        await fill(site.connection, 1, EVENTS)
        await fill(site.connection, 20, 1_000, first=2)  # so that the session is not the whole table
        async with site.api(redis_prefix=_NOBODYS_PREFIX) as port, PollingClient.open(LOOPBACK, port) as client:
            found: dict[int, list[float]] = {page: [] for page in (1, *DEPTHS.values())}
            for number in range(ROUNDS + 1):
                for page, milliseconds in found.items():
                    taken = await _poll(client, page)
                    if number:
                        milliseconds.append(taken)
    first = Figure(found[1], "ms")
    what = f"of {LIMIT} of {EVENTS:,} events, from Postgres"
    return Measurement(
        [
            Row(f"{name} {what}", Figure(found[page], "ms"), "first page", first, NO_MORE)
            for name, page in DEPTHS.items()
        ]
    )


async def _poll(client: PollingClient, page: int) -> float:
    """The milliseconds of one poll that no memory answers."""
    began = time.perf_counter()
    answer = await client.get(f"{EVENTS_PATH}?limit={LIMIT}&page={page}", {**HEADERS, "Readside-Max-Staleness": "0"})
    if answer.status != 200:
        raise BenchError(f"Page {page} was answered {answer.status}: {answer.body[:200]!r}")
    return (time.perf_counter() - began) * 1_000
