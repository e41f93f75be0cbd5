"""What each of gzip's levels costs and saves on pages of sample events: `python -m bench.gzip_levels`."""

import time
import zlib
from collections.abc import Iterator
from itertools import islice
from random import Random
from statistics import median
from typing import NamedTuple

import orjson

from query_api.content_coding import GZIP_FORMAT
from readmodel.freshness import rfc3339
from readmodel.poll import Poll, render
from readside.demo.moves import Record, Savepoint, Transaction
from readside.demo.workflows import Workflow

EVENTS = (100, 1_000)
LEVELS = range(1, 10)
ROUNDS = 50
_SESSION = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
_NOON_US = 1_768_314_600_000_000


class LevelCost(NamedTuple):
    """Milliseconds (the median) and bytes of one level."""

    level: int
    ms: float
    size: int


def page(events: int, chance: Random) -> bytes:
    """Build a page as it is answered, of what the demo's sessions write."""
    at, items = _NOON_US, []
    for record in islice(_records(chance), events):
        at += chance.randrange(300_000)
        item = {
            "id": record.id,
            "session_id": _SESSION,
            "step_id": record.step_id,
            "event_type": record.event_type,
            "event_data": record.data,
            "message": record.message,
            "timestamp": rfc3339(at),
        }
        items.append(orjson.dumps(item))
    return render(b",".join(reversed(items)), events, Poll(_SESSION, limit=events))


def cost(body: bytes, level: int, rounds: int) -> LevelCost:
    """Measure one level on one body."""
    times, packed = [], b""
    for _ in range(rounds):
        began = time.perf_counter()
        packed = zlib.compress(body, level, GZIP_FORMAT)
        times.append(time.perf_counter() - began)
    return LevelCost(level, median(times) * 1_000, len(packed))


def _records(chance: Random) -> Iterator[Record]:
    while True:
        for move in Workflow(chance).moves():
            if isinstance(move, Transaction):
                for change in move.changes:
                    inner = change.changes if isinstance(change, Savepoint) else (change,)
                    yield from (one for one in inner if isinstance(one, Record))


def main() -> None:
    """Print a table for each page."""
    for events in EVENTS:
        body = page(events, Random(7))
        print(f"{events:,} events, {len(body):,} bytes, zlib {zlib.ZLIB_RUNTIME_VERSION}")
        for level in LEVELS:
            found = cost(body, level, ROUNDS)
            print(f"  level {level}: {found.ms:6.2f} ms  {found.size:9,} bytes  {found.size / len(body):5.1%}")


if __name__ == "__main__":
    main()
