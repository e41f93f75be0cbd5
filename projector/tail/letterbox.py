"""The letterbox, from the side of who leads: lease, readings by snapshot, holders, and emptying.

Writers put letters into one of three small unlogged tables while `presence` says that somebody reads them; else they
count in `skips` that they did not. Decision 0031 has the reasons.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from projector.core.letters import Letters
from projector.tail.connection import Tail
from projector.tail.shape import layouts_sql, shape_sql
from projector.tail.sql import statement
from projector.tail.triggers import fingerprint_sql, tree_sql
from readmodel.errors import BadEvents, RightsMissing, TableLocked
from readmodel.postgres.sql import Tables
from readmodel.postgres.sql import statement as shared
from readmodel.values.event import EventRow

LEASE_SECONDS = 10.0
"""For so long letters are written when nobody renews the lease: a killed leader leaves so many behind."""
MAX_RENDERED = 200
"""Letters of a quiet reading, which brings the new events too; past it the reading under load is taken."""
RENDERED_BYTES = 20_000
"""An event that is stored in more comes without its row: most letters are of cold sessions, which nobody needs."""
MAX_IDS = 100_000
"""Event ids that one reading names; past it it names their sessions."""
MAX_IDS_OF_ONE = 1_000
"""Event ids that one reading names of a session; past it that session is looked at."""
MAX_SESSIONS = 100_000
"""Sessions that one reading names; past it the term ends and everything hot is compared."""
SETTLING_SECONDS = 0.01
"""Who attached a partition holds its locks for a moment after others see it: so often we look whether it is over."""
QUIET_SECONDS = 5.0
BUSY_SECONDS = 30.0
"""A reading that takes longer will never be answered. Under load it may have millions of letters to group."""


class ReaderReplaced(Exception):
    """Another projector reads the letters."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one statement saw, all in one snapshot.

    `count` is how many letters there were, `as_of_us` (µs since 1970) what every transaction visible here precedes. The
    rest is told by a beat, and by what brings letters: `skips` counts the letters that writers skipped, `fingerprint`
    is of triggers and tables, partitions included.
    `wal` is how far the server's log had come, `timeline/lsn`. `sent_at` is when it set out, by the monotonic clock.
    """

    letters: Letters
    count: int
    as_of_us: int
    sent_at: float
    skips: str | None = None
    fingerprint: str | None = None
    wal: str | None = None


class Letterbox:
    """Reads the letters of one schema under a number of our own. Each method raises what `Tail.rows` does."""

    def __init__(self, tail: Tail, tables: Tables, schema: str, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.turn = 0
        self.open = True
        self._tail = tail
        self._schema = schema
        self._me = 0
        self._snapshot = ""
        self._sql = _statements(schema, tables)
        self._names_events = tables.partitioned
        """To read an event by its id alone looks into each partition: that is done for hot sessions only."""

    async def fingerprint(self) -> str:
        """Read what triggers, partitions and tables look like now; raises RightsMissing too."""
        try:
            return str(await self._tail.value(f"SELECT {self._sql['fingerprint']}"))
        except RightsMissing as error:
            raise RightsMissing(f"{error} `readside install --role ROLE` grants it.") from error

    async def layouts(self) -> dict[str, str]:
        """What rows of each partition read as, by its oid: once whoever attached it has let go of all its locks.

        Until then a statement may not know it yet.
        """
        while True:
            rows = await self._tail.rows(self._sql["layouts"])
            if all(row["settled"] for row in rows):
                return {row["part"]: row["layout"] for row in rows}
            await asyncio.sleep(SETTLING_SECONDS)

    async def begin(self) -> str:
        """Become the reader, and renew the lease; gives what `skips` says from then on."""
        self._me = secrets.randbelow(2**62) + 1
        presence = await self._tail.value(self._sql["presence"])
        self.turn, self.open = min((int(presence or 0) >> 1) & 3, 2), True
        await self._tail.value(self._sql["reader"], self._me)
        await self.renew(ring=False)
        return str(await self._tail.value(self._sql["skips"]))

    async def incarnation(self) -> int:
        """Ask which history of the database this is: another one after a crash or a promotion."""
        return int(await self._tail.value(self._sql["incarnation"]))

    async def begin_reading(self) -> None:
        """Take the snapshot that the first reading continues."""
        self._snapshot = str(await self._tail.value("SELECT pg_current_snapshot()::text"))

    async def renew(self, *, ring: bool) -> None:
        """Say that somebody reads letters (or, not `open`, that nobody does) and whether to ring.

        Raises ReaderReplaced.
        """
        lease_ms = int(LEASE_SECONDS * 1000) if self.open else 0
        if await self._tail.value(self._sql["renew"], self._me, self.turn, ring, lease_ms) is None:
            raise ReaderReplaced(self._replaced())

    async def leave(self) -> None:
        """Say that nobody reads letters any more, as a leader does that ends in order."""
        self.open = False
        with suppress(ReaderReplaced):
            await self.renew(ring=False)

    async def holders(self) -> set[str]:
        """List the transactions under way that skipped a letter, and all prepared ones."""
        return {row["holder"] for row in await self._tail.rows(self._sql["holders"])}

    async def read(self, *, beat: bool, busy: bool) -> Reading:
        """Read the letters of all transactions that ended since the last reading; raises ReaderReplaced."""
        sent_at = time.monotonic()
        rows: Sequence[Any] = ()
        if not busy and not self._names_events:
            try:
                quiet = (self._snapshot, beat, MAX_RENDERED, RENDERED_BYTES)
                rows = await self._tail.rows(self._sql["quiet"], *quiet, timeout=QUIET_SECONDS)
            except (BadEvents, TableLocked):
                rows = ()  # an event cannot be rendered, or the table is locked: the ids alone do as well
        if rows and rows[0]["letters"] <= MAX_RENDERED:
            letters = told(rows)
        else:
            bounds = (self._snapshot, beat, MAX_IDS, MAX_SESSIONS)
            rows = await self._tail.rows(self._sql["busy"], *bounds, timeout=BUSY_SECONDS)
            letters = told_by_session(rows)
        head = rows[0]
        if head["reader"] not in {None, self._me}:
            raise ReaderReplaced(self._replaced())
        self._snapshot = letters.snapshot = head["snapshot"]
        proof = head["skips"], head["fingerprint"], head["wal"]
        return Reading(letters, head["letters"], head["as_of_us"], sent_at, *proof)

    async def empty(self, places: Sequence[int]) -> bool:
        """Empty tables that are not in use of what was read; tell whether any was. One that somebody locks stays.

        Raises DiskFull too: before an emptied table gives its pages back, its new index takes two.
        """
        emptied = [await self._tail.value(self._sql["empty"], place, self._me, self._snapshot) for place in places]
        return any(emptied)

    def _replaced(self) -> str:
        return f"another projector reads the letters of {self._schema} (each deployment needs its own READSIDE_SCHEMA)"

    async def household(self) -> Any:
        """Ask how large the tables are, how full the notification queue is, and who waits for its lock."""
        (row,) = await self._tail.rows(self._sql["household"])
        return row


def shape_of(fingerprint: str, layouts: Mapping[str, str] | None = None) -> str:
    """The part of a fingerprint that says what rows read as, those of partitions by their `layouts` included."""
    if not layouts:
        return fingerprint[-32:]
    told = fingerprint[-32:] + "".join(f" {part} {layout}" for part, layout in sorted(layouts.items()))
    return hashlib.md5(told.encode(), usedforsecurity=False).hexdigest()


def but_for_partitions(fingerprint: str) -> str:
    """What a fingerprint says of the two tables and of our triggers on them."""
    return fingerprint[:-64] + fingerprint[-32:]


def _statements(schema: str, tables: Tables) -> dict[str, str]:
    named = schema, tables.sessions, tables.events
    own = {
        "schema": schema,
        "fingerprint": f"({fingerprint_sql(*named)} || {tree_sql(*named)} || {shape_sql(tables)})",
    }
    own["fresh_letters"] = statement("fresh_letters", **own)
    own["wal_position"] = statement("wal_position")
    own["reading_head"] = statement("reading_head", **own)
    events = {name: shared(name).rstrip() for name in ("score", "row_hash", "event_json")}
    events["events"] = tables.events
    return {
        "quiet": statement("reading_quiet", **own, **events),
        "busy": statement("reading_busy", **own),
        "fingerprint": own["fingerprint"],
        "layouts": layouts_sql(tables),
        "presence": f"SELECT pg_sequence_last_value('\"{schema}\".presence'::regclass)",
        "reader": f"SELECT setval('\"{schema}\".reader', $1)",
        "incarnation": f'SELECT "{schema}".incarnation()',
        "skips": f"SELECT last_value::text || ' ' || is_called::text FROM \"{schema}\".skips",  # noqa: S608 (our own schema)
        "holders": statement("holders", **own),
        "renew": statement("renew", **own),
        "household": statement("household", **own),
        "empty": f'SELECT "{schema}".empty_letters($1, $2, $3::text::pg_snapshot)',
    }


def told(rows: Sequence[Any]) -> Letters:
    """Read the rows of a quiet reading: a letter each, with the event where it brought it."""
    letters = Letters()
    for row in rows:
        session_id = row["session_id"]
        match row["kind"]:
            case None:
                pass
            case kind if session_id is None:
                _note(letters, session_id, kind)
            case "a":
                event = None
                if row["member"] is not None or (row["id"] is not None and row["score"] is None):
                    event = EventRow(session_id, *map(row.__getitem__, EventRow._fields[1:]))
                letters.added.setdefault(session_id, {})[row["event_id"]] = event
                letters.txids.setdefault(session_id, {})[row["event_id"]] = row["txid"]
            case kind:
                _note(letters, session_id, kind)
    letters.look(list(letters.looks))
    return letters


def told_by_session(rows: Sequence[Any]) -> Letters:
    """Read the rows of a reading under load: a session each."""
    letters = Letters()
    if len(rows) > MAX_SESSIONS:
        letters.ended = f"more than {MAX_SESSIONS} sessions changed before they could be looked at"
        return letters
    for row in rows:
        session_id, ids = row["session_id"], row["ids"]
        if session_id is None:
            if row["everything"] is not None:
                _note(letters, session_id, "x" if row["everything"] else "a")
            continue
        for kind, is_told in (("x", row["everything"]), ("l", row["look"]), ("r", row["row"]), ("n", row["new"])):
            if is_told:
                _note(letters, session_id, kind)
        if row["added"] and (ids is None or row["added"] > MAX_IDS_OF_ONE):
            letters.looks.add(session_id)
        elif row["added"]:
            txids = {ids[at : at + 32]: int(ids[at + 32 : at + 48], 16) for at in range(0, len(ids), 48)}
            letters.added[session_id] = dict.fromkeys(txids)
            letters.txids[session_id] = txids
    letters.look(list(letters.looks))
    return letters


def _note(letters: Letters, session_id: str | None, kind: str) -> None:
    if kind == "x":
        letters.ended = "a statement changed too much to name (TRUNCATE, or thousands of sessions at once)"
    elif session_id is None:
        letters.ended = "an event was written that belongs to no session"
    elif kind == "l":
        letters.looks.add(session_id)
    elif kind == "r":
        letters.rows.add(session_id)
    else:
        letters.created[session_id] = None
