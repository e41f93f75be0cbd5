"""The finished answers that one API process keeps, and the rules by which they stay right. No I/O.

The rules are those of `Api` in the model of the protocol: an answer has a number (term and batch); a message about a
batch drops the answers of the sessions that it names and raises the as-of of the rest; a break in term or number
empties the cache, since a message may have been missed. Messages about another database's view are not heard at all.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from query_api.answers import Answer, AsOf, Number
from query_api.newest import Newest
from query_api.transit import Transit
from readmodel.messages import EVERY_SESSION, Change
from readmodel.poll import Poll
from readmodel.wal import Proof, WalPosition

ENTRY_OVERHEAD_BYTES = 1_500
"""What an entry costs beyond its body and key: headers, tuples, its places in two dictionaries."""
STRING_BYTES = 64
"""A string and its place in a tuple, beside its letters."""
Key = Poll | str
"""A poll; or a session's id, for the 404 that all polls of it get."""
MAX_PROOFS, PROOF_SECONDS = 256, 0.1
"""Beats that hot standbys are held against, and how far they lie apart at least: those of half a minute, or more."""
MAX_DROPPED = 100_000
"""Sessions whose last drop is remembered one by one."""


@dataclass(slots=True)
class _Entry:
    kept: Answer | Newest
    freshness: AsOf
    size: int


class ResponseCache:
    """Answers by key, bounded by bytes: the least recently used leave first."""

    def __init__(self, max_bytes: int, max_dropped: int = MAX_DROPPED) -> None:
        self.max_bytes = max_bytes
        self._max_dropped = max_dropped
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._keys_of: dict[str, set[Hashable]] = {}
        self._heard: Number | None = None
        self._database = ""
        self._beat: AsOf | None = None
        self._proofs: deque[Proof] = deque(maxlen=MAX_PROOFS)
        self._transit = Transit()
        self._floor = 0  # no answer of a lower number may be stored: the last emptying, or a drop that was forgotten
        self._dropped_at: OrderedDict[str, int] = OrderedDict()  # in order of n
        self.bytes = 0
        self.breaks = self.evictions = self.dropped = self.messages = 0

    def __len__(self) -> int:
        """How many answers are kept."""
        return len(self._entries)

    @property
    def beat(self) -> AsOf | None:
        """The last as-of heard in the present unbroken stretch of messages."""
        return self._beat

    @property
    def proofs(self) -> Sequence[Proof]:
        """The beats of that stretch with how far the database's log had come for each, the latest last."""
        return self._proofs

    def numbers(self) -> Number | None:
        """The number of the last message; to be taken before a query is sent whose answer shall be stored."""
        return self._heard

    def belong_to(self, database: str) -> None:
        """Hear nothing of any other database from now on; forgets what was heard and kept under another's term."""
        self._database = database
        if self._heard is not None and self._heard.database != database:
            self._break()

    def hear(self, change: Change, now: float) -> None:
        """Take the message of one batch, heard at `now` (monotonic seconds)."""
        if self._database and change.database != self._database:
            if self._heard is not None:
                self._break()
            return
        if self._heard is None or self._heard.term != change.term or change.n != self._heard.n + 1:
            self._break()
            self._floor = change.n
        self._heard = Number(change.term, change.n, change.database)
        self.messages += 1
        delay = self._transit.delay_seconds(change.at_us, now) if change.at_us else 0.0
        if EVERY_SESSION in change.sessions:
            self._empty()
            self._floor = change.n
        else:
            for session_id in change.sessions:
                self._drop(session_id, change.n)
        if change.as_of_us is not None and (self._beat is None or change.as_of_us > self._beat.as_of_us):
            self._beat = AsOf(change.as_of_us, now - delay - (change.round_trip_us or 0) / 1_000_000)
            if change.wal is not None:
                self._prove(change, change.wal, self._beat)

    def _prove(self, change: Change, wal: WalPosition, beat: AsOf) -> None:
        proofs = self._proofs
        if len(proofs) > 1 and beat.since - proofs[-2].since < PROOF_SECONDS:
            proofs.pop()
        proofs.append(Proof(wal, beat.as_of_us, beat.since, change.term, change.n, change.database))

    def get(self, key: Key, now: float, staleness_seconds: float) -> tuple[Answer, AsOf] | None:
        """Find an answer whose lag at `now` is below `staleness_seconds`."""
        return self._find(key, now, staleness_seconds)  # type: ignore[return-value]

    def newest(self, key: str, now: float, staleness_seconds: float) -> tuple[Newest, AsOf] | None:
        """Find what is known of a session's newest events by its `newest_key`, by the same rule."""
        return self._find(key, now, staleness_seconds)  # type: ignore[return-value]

    def store(self, key: Key, answer: Answer, freshness: AsOf, number: Number | None) -> bool:
        """Keep an answer if no message since its number can have changed it; tells whether it is kept."""
        size = len(answer.body) + _bytes_of(key) + ENTRY_OVERHEAD_BYTES
        return self._keep(key, _Entry(answer, freshness, size), number)

    def store_newest(self, newest: Newest, freshness: AsOf, number: Number | None) -> bool:
        """Keep what is known of a session's newest events, by the same rule, unless as much is known already."""
        known = self._entries.get(newest.key)
        if known is not None and isinstance(known.kept, Newest) and known.kept.reaches_us < newest.reaches_us:
            return False
        return self._keep(newest.key, _Entry(newest, freshness, newest.size), number)

    def _find(self, key: Hashable, now: float, staleness_seconds: float) -> tuple[Answer | Newest, AsOf] | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        freshness, beat = entry.freshness, self._beat
        if beat is not None and beat.as_of_us > freshness.as_of_us:
            freshness = beat
        if now - freshness.since >= staleness_seconds:
            return None
        self._entries.move_to_end(key)
        return entry.kept, freshness

    def _keep(self, key: Hashable, entry: _Entry, number: Number | None) -> bool:
        session_id = entry.kept.session_id
        if number is None or self._heard is None or number.term != self._heard.term:
            return False
        if number.n < max(self._floor, self._dropped_at.get(session_id, 0)) or entry.size > self.max_bytes:
            return False
        self._remove(key)
        self._entries[key] = entry
        self._keys_of.setdefault(session_id, set()).add(key)
        self.bytes += entry.size
        while self.bytes > self.max_bytes:
            self._remove(next(iter(self._entries)))
            self.evictions += 1
        return True

    def _drop(self, session_id: str, n: int) -> None:
        for key in tuple(self._keys_of.get(session_id, ())):
            self._remove(key)
            self.dropped += 1
        self._dropped_at.pop(session_id, None)
        self._dropped_at[session_id] = n
        if len(self._dropped_at) > self._max_dropped:
            self._floor = max(self._floor, self._dropped_at.popitem(last=False)[1])

    def _break(self) -> None:
        self._empty()
        self._dropped_at.clear()
        self._heard = None
        self._beat = None  # it may promise more than a view that was put back holds
        self._proofs.clear()
        self.breaks += 1

    def _empty(self) -> None:
        self._entries.clear()
        self._keys_of.clear()
        self.bytes = 0

    def _remove(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self.bytes -= entry.size
        session_id = entry.kept.session_id
        self._keys_of[session_id].discard(key)
        if not self._keys_of[session_id]:
            del self._keys_of[session_id]


def _bytes_of(key: Key) -> int:
    """Give what is long in a key: a poll may name a hundred types and steps, each a string of its own."""
    return len(key) if isinstance(key, str) else sum([len(name) + STRING_BYTES for name in key.types + key.steps])
