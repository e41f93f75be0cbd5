"""Polls of cold sessions, one at a time: Postgres answers while the projector brings the session in."""

import time

from bench.events import fill, session_id
from bench.load import HEADERS, percentile
from bench.polling_client import PollingClient
from bench.stack import Servers, Site, until
from bench.table import BenchError, Figure, Measurement, Row, Target
from readside.demo.processes import LOOPBACK

NAME = "cold"
SESSIONS, EVENTS = 20, 10_000
WARM_UP = 2
"""Sessions polled first and not counted: they open connections and prepare statements."""
_PATH = "/api/v2/sessions/{}/events?limit=100"


async def measure(servers: Servers) -> Measurement:
    """Poll each session once while it is cold, and wait until it is hot, so that no two are under way."""
    polls: list[float] = []
    warmings: list[float] = []
    async with servers.site() as site:
        await fill(site.connection, SESSIONS, EVENTS)
        await site.run("install")
        async with site.projector(warm_limit="0"), site.api() as port, PollingClient.open(LOOPBACK, port) as client:
            for number in range(1, SESSIONS + 1):
                poll_ms, hot_after_ms = await _poll(site, client, number)
                if number > WARM_UP:
                    polls.append(poll_ms)
                    warmings.append(hot_after_ms)
    note = f"slowest of {len(polls)} {max(polls):.0f} ms"
    what = f"session of {EVENTS:,} events"
    rows = [
        Row(
            f"first poll of a cold {what}, page of 100 from Postgres, alone",
            Figure(polls, "ms", note),
            target=Target(100, at_most=True, unit="ms"),
        ),
        Row(
            f"cold {what}: from its first poll until it is hot",
            Figure(warmings, "ms", f"p90 {percentile(warmings, 90):.0f} ms"),
        ),
    ]
    return Measurement(rows)


async def _poll(site: Site, client: PollingClient, number: int) -> tuple[float, float]:
    """The milliseconds of the cold poll, and those from its start until the session is hot."""
    session, began = session_id(number), time.perf_counter()
    answer = await client.get(_PATH.format(session), HEADERS)
    poll_ms = (time.perf_counter() - began) * 1000
    if answer.status != 200 or answer.header("readside-source") != "postgres":
        raise BenchError(f"A cold session's poll came {answer.status} from {answer.header('readside-source')}.")

    async def is_hot() -> bool:
        header = (await site.view.headers([session]))[0]
        return header is not None and header.complete

    await until(is_hot, f"session {session} is hot", pause_seconds=0.002)
    return poll_ms, (time.perf_counter() - began) * 1000
