"""The beat: a nonce through the very pipe that the notices take; it alone moves as-of."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

from projector.reads import Reads
from projector.tail.connection import CHANNEL
from projector.tail.shape import shape_sql
from projector.tail.triggers import FINGERPRINT_SQL
from readmodel.errors import EventLogUnavailable
from readmodel.sql import Tables, literal

MAX_OUTSTANDING = 1_000
FAILING_BEATS = 10
FAILING_SECONDS = 5.0
"""When no beat could be sent for so many beats (and seconds) the term ends: the reads do not reach the server.

By time, not by tries: on connections that went silent each try takes as long as a statement may.
"""

# One autocommit statement, on another connection than the listener's: what was committed before its now() is in the
# notification queue before it.
_BEAT = """
SELECT pg_catalog.pg_notify('{channel}', 'b ' || $1::text || ' ' || $2::text || ' '
  || ((extract(epoch FROM pg_catalog.now()) * 1000000::numeric)::bigint)::text || ' ' || {fingerprint} || {shape}),
  pg_catalog.pg_notification_queue_usage()
"""


class Heartbeat:
    """Sends the beats of one term and knows when each set out."""

    def __init__(self, reads: Reads, term: str, heartbeat_seconds: float) -> None:
        self.queue_usage = 0.0
        self._reads = reads
        self._term = term
        self._seconds = heartbeat_seconds
        self._sent_at: dict[str, float] = {}

    def returned(self, nonce: str) -> float | None:
        """Give when a beat set out, by the monotonic clock; None for one that is not ours, or came before."""
        return self._sent_at.pop(nonce, None)

    async def beat(self) -> None:
        """Send beats, for ever; raises EventLogUnavailable when none could be sent for some time."""
        patience, sent_at = max(FAILING_BEATS * self._seconds, FAILING_SECONDS), time.monotonic()
        while True:
            started = time.monotonic()
            try:
                await self._send()
                sent_at = time.monotonic()
            except EventLogUnavailable:
                if time.monotonic() - sent_at > patience:
                    raise
            await asyncio.sleep(max(0.0, self._seconds - (time.monotonic() - started)))

    async def _send(self) -> None:
        nonce = uuid4().hex
        while len(self._sent_at) >= MAX_OUTSTANDING:
            self._sent_at.pop(next(iter(self._sent_at)))
        self._sent_at[nonce] = time.monotonic()
        tables = self._reads.tables
        beat = _BEAT.format(channel=CHANNEL, fingerprint=_fingerprint_sql(tables), shape=shape_sql(tables))
        row = await self._reads.row(beat, self._term, nonce)
        self.queue_usage = float(row[1])


async def fingerprint(reads: Reads) -> tuple[str, str]:
    """Read what the triggers look like now, and what rows read as."""
    found = await reads.row(f"SELECT {_fingerprint_sql(reads.tables)}, {shape_sql(reads.tables)}")
    return str(found[0]), str(found[1])


def _fingerprint_sql(tables: Tables) -> str:
    """Name the tables as our own search_path finds them: one that is moved elsewhere is another."""
    sql = FINGERPRINT_SQL
    for name, qualified in (("sessions", tables.sessions), ("events", tables.events)):
        sql = sql.replace(f"to_regclass('{name}')", f"to_regclass({literal(qualified)})")
    return sql
