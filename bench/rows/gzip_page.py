"""A page of 1,000 events for those who ask for gzip, beside the same page as it is: its bytes, and polls a second."""

import gzip
from contextlib import AsyncExitStack, suppress

from bench.contest import CLIENTS, ROUNDS, SECONDS, Contestant, answer_of, contest
from bench.load import HEADERS
from bench.polling_client import PollingClient, Response
from bench.rows.polling import EVENTS_PATH, polled_site
from bench.stack import Servers, until
from bench.table import BenchError, Figure, Measurement, Row
from readside.demo.processes import LOOPBACK

NAME = "gzip"
SESSIONS, EVENTS_EACH = 2, 1_000
TARGET = f"{EVENTS_PATH}?limit=1000"
ASKING = {**HEADERS, "Accept-Encoding": "gzip"}
ENCODED_SECONDS = 5.0
"""An answer may be compressed after it was first asked for."""
_WHAT = "page of 1,000 events"


async def measure(servers: Servers) -> Measurement:
    """Poll one session both ways in turns."""
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(polled_site(servers, sessions=SESSIONS, events_each=EVENTS_EACH))
        port = await stack.enter_async_context(site.api())
        plain = await answer_of(port, TARGET, "memory")
        asked = await _asked(port)
        both = [Contestant("gzip", port, [TARGET], headers=ASKING), Contestant("as it is", port, [TARGET])]
        await contest(both, rounds=servers.choices.rounds or ROUNDS, seconds=servers.choices.seconds or SECONDS)
    return Measurement(rows(asked, plain, both[0].figure(), both[1].figure()))


async def _asked(port: int) -> Response:
    """Ask for gzip until the answer is encoded, or for long enough."""
    async with PollingClient.open(LOOPBACK, port) as client:

        async def comes_encoded() -> bool:
            return is_encoded(await client.get(TARGET, ASKING))

        with suppress(BenchError):  # then the table says so
            await until(comes_encoded, "the page comes encoded", seconds=ENCODED_SECONDS)
        return await client.get(TARGET, ASKING)


def is_encoded(answer: Response) -> bool:
    """Whether it is gzip, as its head says."""
    return answer.header("content-encoding") == "gzip"


def rows(asked: Response, plain: Response, asked_rate: Figure, plain_rate: Figure) -> list[Row]:
    """Bytes and polls a second. Raises BenchError where what was encoded is not the page."""
    if is_encoded(asked) and gzip.decompress(asked.body) != plain.body:
        raise BenchError("The page that came as gzip is another one.")
    note = "" if is_encoded(asked) else "not encoded"
    peer = "without Accept-Encoding"
    size = Figure([float(len(asked.body))], "bytes", note)
    rate = Figure(asked_rate.rounds, asked_rate.unit, ", ".join(filter(None, (note, asked_rate.note))))
    return [
        Row(f"{_WHAT} for who accepts gzip, body", size, peer, Figure([float(len(plain.body))], "bytes")),
        Row(f"{_WHAT} for who accepts gzip, {CLIENTS} clients, from memory", rate, peer, plain_rate),
    ]
