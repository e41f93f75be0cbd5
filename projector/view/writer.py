"""All that changes the view, through its two scripts and the staging keys; only the leading projector holds one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, TypeAlias

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from projector.core.operations import Add, Drop, Operation, Put, Stamp, Status, Touch
from projector.loads.snapshot import Part
from projector.view.scripts import source
from readmodel.errors import ForeignView, ViewUnavailable
from readmodel.redis.client import target, translated
from readmodel.redis.evaluate import Script, Sender
from readmodel.redis.overrides import PackedWords
from readmodel.values.event import ENCODING_VERSION, EventRow, type_name
from readmodel.values.messages import EVERY_SESSION
from readmodel.view.arrival_log import pack_cut, pack_txid
from readmodel.view.keys import Keys, other_slices
from readmodel.view.type_index import Entries, pack_entry, pack_index

STAGING_SECONDS = 60
CLOCK_DRIFT_US = 100
"""How much of what is known of Redis' clock is forgotten with each reply: clocks drift, and are set."""
STILL_MOVING_SECONDS = 10.0
"""Another database's view whose beat is younger than this has a living projector."""


Argument: TypeAlias = str | bytes | int


class TermRefused(Exception):
    """The view is not where this term left it: another leader, an old dump, a flush, a late command."""


class StagingLost(Exception):
    """A load's staging keys are gone; nothing of the batch was applied."""

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id)
        self.session_id = session_id


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What the script found: sessions that were not hot, that it forgot, and that outgrew their window.

    `damaged` are those of the forgotten whose keys were of a wrong type or contradicted themselves.
    `again`: the batch had been applied before, by an earlier try, and what it found then is not known.
    """

    cold: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()
    grown: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    again: bool = False


class ViewWriter:
    """Begins terms and applies batches. Every method raises ViewUnavailable, AccessRefused or ForeignView.

    `sender` sends the batches, where several slices share round trips.
    """

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        *,
        ttl_seconds: float,
        window_events: int,
        window_bytes: int,
        sender: Sender | None = None,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._clock: float | None = None  # Redis' clock less our monotonic one, µs
        self._begin = Script(redis, source("begin"))
        self._reshape = Script(redis, source("reshape"))
        self._apply = Script(sender or redis, source("apply"))
        self._shrink = Script(sender or redis, "#!lua flags=allow-oom\n" + source("apply"))
        # Untouched keys outlive the projector's own sweep and still go when no projector is left.
        self._fixed: tuple[Argument, ...] = (
            keys.changes,
            keys.publish,
            keys.base,
            ENCODING_VERSION,
            int(2 * ttl_seconds) + 60,
            window_events * 5 // 4,
            window_bytes * 5 // 4,
        )

    async def begin(self, term: str, expected: str, database: str, shape: str, origin: str = "") -> bool:
        """Start a term where the view is at `expected` ("" for none); raises TermRefused, ForeignView.

        Tells whether the view is continued. If not, nothing that is left of it may be stamped: it is of another
        database, was written in another way, or shows rows that read as something else by now (`shape`).
        """
        keys = self._keys
        moving_us = int(STILL_MOVING_SECONDS * 1_000_000)
        arguments: list[Argument] = [
            term,
            expected,
            keys.version,
            database,
            moving_us,
            shape,
            keys.changes,
            keys.publish,
            origin,
        ]
        reply = await self._run(self._begin, arguments)
        outcome, *found = (part.decode() for part in reply)
        if outcome == "refused":
            raise TermRefused(f"the view is at term {found[0] or 'none'}")
        if outcome == "foreign":
            raise ForeignView(
                f"Redis at {target(self._redis)} holds the moving view of another database ({found[0]}) "
                f"under the prefix {keys.prefix}: set another READSIDE_REDIS_PREFIX."
            )
        if outcome == "slices":
            raise ForeignView(
                f"Redis at {target(self._redis)} holds the moving view of a projector with another READSIDE_SLICES: "
                f"{other_slices(found[0], keys.version)}."
            )
        if outcome == "data":
            raise ForeignView(
                f"Redis at {target(self._redis)} holds other data in {found[0]} ({found[1]}): "
                "set another READSIDE_REDIS_PREFIX."
            )
        return found == ["1"]

    async def reshape(self, term: str, shape: str) -> None:
        """Note by what name the next term knows that rows read as they do now; raises TermRefused."""
        outcome, *found = (part.decode() for part in await self._run(self._reshape, [term, shape]))
        if outcome == "refused":
            raise TermRefused(f"the view is at term {found[0] or 'none'}")

    async def apply(
        self,
        term: str,
        n: int,
        operations: Sequence[Operation],
        named: Sequence[str],
        *,
        as_of_us: int | None = None,
        wal: str = "",
        round_trip_us: int | None = None,
        though_full: bool = False,
    ) -> BatchResult:
        """Send batch `n`, once; may be sent again after ViewUnavailable. Raises TermRefused, StagingLost, ViewFull.

        `wal` is how far the database's log had come for this as-of. `though_full` has a full Redis take it: for batches
        that add no event.
        """
        arguments: list[Argument] = [
            term,
            n,
            "" if as_of_us is None else as_of_us,
            "" if as_of_us is None else (round_trip_us or 0),
            wal,
            "" if self._clock is None else int(self._clock + time.monotonic() * 1_000_000),
            " ".join(named),
            *self._fixed,
        ]
        for operation in operations:
            arguments += encode(operation)
        reply = await self._run(self._shrink if though_full else self._apply, arguments)
        applied = _applied(reply)
        if len(reply) > 4:
            self._tell_time(int(reply[4]))
        return applied

    async def _run(self, script: Script, arguments: list[Argument]) -> list[Any]:
        with translated(self._redis):
            (reply,) = await script.run([([self._keys.position, self._keys.hot], arguments)])
            if isinstance(reply, ResponseError):
                raise reply
        found: list[Any] = reply
        return found

    def _tell_time(self, redis_us: int) -> None:
        """Learn Redis' clock beside ours from a reply: it came after the script ran, so the truth is this or more."""
        clock = redis_us - time.monotonic() * 1_000_000
        self._clock = clock if self._clock is None else max(clock, self._clock - CLOCK_DRIFT_US)

    async def stage(self, staging: str, part: Part, index: Entries | None = None) -> None:
        """Add events to a load's staging keys, which live a minute after the last call.

        The last call brings the type index of all that was staged.
        """
        prefix = self._keys.staging(staging)
        pipeline: Any = self._redis.pipeline(transaction=False)
        pipeline.execute_command("ZADD", f"{prefix}e", PackedWords(2 * part.held, part.words))
        pipeline.expire(f"{prefix}e", STAGING_SECONDS)
        if index is not None:
            pipeline.hset(f"{prefix}i", mapping=pack_index(index))
            pipeline.expire(f"{prefix}i", STAGING_SECONDS)
        with translated(self._redis):
            await pipeline.execute()

    async def unstage(self, staging_key: str) -> None:
        """Throw a load's staging keys away, by the prefix that `put` would name."""
        with translated(self._redis):
            await self._redis.unlink(f"{staging_key}e", f"{staging_key}i")

    def staging_key(self, staging: str) -> str:
        """The prefix that `put` names."""
        return self._keys.staging(staging)


def _applied(reply: list[Any]) -> BatchResult:
    match reply[0]:
        case b"ok":
            cold, forgotten, grown, damaged = (
                tuple(sid.decode() for sid in found) for found in (*reply[1:4], *reply[5:6])
            )
            return BatchResult(cold, forgotten, grown, damaged)
        case b"done":
            return BatchResult(again=True)
        case b"unstaged":
            raise StagingLost(reply[1].decode())
        case b"refused":
            raise TermRefused(f"the view is at term {reply[1].decode() or 'none'}, batch {reply[2].decode() or 'none'}")
    raise ViewUnavailable(f"The apply script gave {reply[0]!r}.")


def names(sessions: Sequence[str], bound: int) -> list[str]:
    """Name these sessions in a message, or every session when there are more than `bound`."""
    return [EVERY_SESSION] if len(sessions) > bound else list(sessions)


def encode(operation: Operation) -> list[Argument]:
    """The words of an operation as `apply.lua` reads them: verb, session, how many arguments, arguments."""
    words: list[Argument]
    match operation:
        case Add(_, events, txids, snapshot):
            words = [pack_cut(snapshot), *_event_words(events, txids)]
        case Put(_, staged):
            words = [staged.staging if staged.held else "", staged.held, pack_cut(staged.snapshot)]
            words += [word for pair in staged.header.items() for word in pair]
        case Status(_, text):
            words = [text]
        case Touch(_, polled_ms_ago):
            words = [] if polled_ms_ago is None else [str(polled_ms_ago)]
        case Stamp(_, count, hi, lo, snapshot):
            words = [str(count), str(hi), str(lo), pack_cut(snapshot)]
        case Drop():
            words = []
    return [type(operation).__name__.lower(), operation.session_id, len(words), *words]


def _event_words(events: Iterable[EventRow], txids: Iterable[int]) -> Iterator[Argument]:
    for event, txid in zip(events, txids or repeat(0), strict=False):
        _, event_id, instant, event_type, hash_hi, hash_lo, member = event
        score = instant or 0
        entry = pack_entry(score, event_id)
        yield from (score, member, entry, hash_hi, hash_lo, type_name(event_type), pack_txid(txid))
