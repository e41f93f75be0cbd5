"""The finished answers that one API process keeps, and the rules by which they stay right. No I/O.

The rules are those of `Api` in the model of the protocol: an answer has a number (term and batch); a message about a
batch drops the answers of the sessions that it names and raises the as-of of the rest; a break in term or number
drops all, since a message may have been missed. Messages about another database's view are not heard at all.

Each slice of the view has a stream of messages of its own, and the rules hold for each by itself: what one says, or
does not say, tells nothing of the sessions of another. Memory is shared by all.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from query_api.memory.answers import Answer, AsOf, Number
from query_api.memory.newest import Newest
from query_api.memory.stream_page import StreamEnd, StreamPage, end_key
from query_api.memory.transit import Transit
from readmodel.values.arrivals import StreamRead
from readmodel.values.messages import EVERY_SESSION, Change
from readmodel.values.offset import memory_of
from readmodel.values.poll import Poll
from readmodel.values.wal import Proof, WalPosition, latest_passed
from readmodel.view.slices import Slices

ENTRY_OVERHEAD_BYTES = 1_500
"""What an entry costs beyond its body and key: headers, tuples, its places in two dictionaries."""
STRING_BYTES = 64
"""A string and its place in a tuple, beside its letters."""
Key = Poll | str
"""A poll; or a session's id, for the 404 that all polls of it get."""
Kept = Answer | Newest | StreamEnd | StreamPage
MAX_PROOFS, PROOF_SECONDS = 256, 0.1
"""Beats that hot standbys are held against, and how far they lie apart at least: those of half a minute, or more."""
BEHIND_SECONDS = 1.0
"""A slice whose beats are so much older than another's is away: each beat goes to all of them."""
MAX_DROPPED = 100_000
"""Sessions whose last drop is remembered one by one; each slice has an equal share."""


class ChangeStream:
    """What was heard of one slice, and which answers of its sessions are kept."""

    __slots__ = ("beat", "dropped_at", "floor", "heard", "index", "keys_of", "proofs", "transit")

    def __init__(self, index: int) -> None:
        self.index = index
        self.heard: Number | None = None
        self.beat: AsOf | None = None
        self.transit = Transit()
        self.floor = 0  # no answer of a lower number may be stored: the last emptying, or a drop that was forgotten
        self.dropped_at: OrderedDict[str, int] = OrderedDict()  # in order of n
        self.keys_of: dict[str, set[Hashable]] = {}
        self.proofs: deque[Proof] = deque(maxlen=MAX_PROOFS)

    def prove(self, change: Change, wal: WalPosition, beat: AsOf) -> None:
        """Keep a beat that hot standbys can be held against."""
        proofs = self.proofs
        if len(proofs) > 1 and beat.since - proofs[-2].since < PROOF_SECONDS:
            proofs.pop()
        proofs.append(Proof(wal, beat.as_of_us, beat.since, change.term, change.n, change.database))


@dataclass(slots=True)
class _Entry:
    kept: Kept
    freshness: AsOf
    size: int
    stream: ChangeStream


class ResponseCache:
    """Answers by key, bounded by bytes: the least recently used leave first. `slices` are those of the view."""

    def __init__(self, max_bytes: int, slices: Slices | None = None, max_dropped: int = MAX_DROPPED) -> None:
        self.max_bytes = max_bytes
        self._slices = slices or Slices("")
        self._streams = tuple(map(ChangeStream, range(len(self._slices.keys))))
        self._max_dropped = max(1, max_dropped // len(self._streams))
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._database = ""
        self.bytes = 0
        self.breaks = self.evictions = self.dropped = self.messages = 0
        self.on_change: Sequence[Callable[[str], None]] = ()
        """Told of each session that a message names."""
        self.on_emptying: Sequence[Callable[[int], None]] = ()
        """Told of each slice any session of which may have changed."""
        self.on_beat: Sequence[Callable[[int, int], None]] = ()
        """Told of each slice whose beat has come, and its as-of, µs since 1970."""

    def __len__(self) -> int:
        """How many answers are kept."""
        return len(self._entries)

    @property
    def beats(self) -> list[AsOf | None]:
        """The last as-of heard of each slice in its present unbroken stretch of messages."""
        return [stream.beat for stream in self._streams]

    @property
    def beat(self) -> AsOf | None:
        """The oldest of them, of the slices that have one."""
        return min(filter(None, self.beats), key=lambda beat: beat.as_of_us, default=None)

    def beat_of(self, session_id: str) -> AsOf | None:
        """The last as-of heard of a session's slice."""
        return self._stream_of(session_id).beat

    def proofs_of(self, session_id: str) -> Sequence[Proof]:
        """The beats of that slice in that stretch, with how far the database's log had come; the latest last."""
        return self._stream_of(session_id).proofs

    @property
    def proofs(self) -> Sequence[Proof]:
        """The same of the slice that has the latest one: each beat says it of all slices alike."""
        return max(
            (stream.proofs for stream in self._streams), key=lambda proofs: proofs[-1].as_of_us if proofs else -1
        )

    def passed(self, session_id: str, replayed: int) -> Proof | None:
        """The latest beat that a hot standby has passed which has replayed so many bytes; None: there is none.

        That of the session's slice, or another's where the slice is away: a beat holds for the whole database. An
        answer with another slice's number is not kept.
        """
        own, latest = latest_passed(self.proofs_of(session_id), replayed), latest_passed(self.proofs, replayed)
        if own is None or latest is None:
            return own or latest
        return latest if latest.since - own.since > BEHIND_SECONDS else own

    def number_of(self, session_id: str) -> Number | None:
        """The number of the last message of a session's slice.

        It is to be taken before a query is sent whose answer shall be stored.
        """
        return self._stream_of(session_id).heard

    def follows(self, session_id: str, number: Number | None) -> bool:
        """Whether an answer of this number holds until a message names its session or a break comes."""
        return self._is_current(self._stream_of(session_id), session_id, number)

    def index_of(self, session_id: str) -> int:
        """Tell which slice a session is in."""
        return self._slices.index_of(session_id)

    def belong_to(self, database: str) -> None:
        """Hear nothing of any other database from now on; forgets what was heard and kept under another's term."""
        self._database = database
        for stream in self._streams:
            if stream.heard is not None and stream.heard.database != database:
                self._break(stream)

    def hear(self, change: Change, now: float, index: int = 0) -> None:
        """Take the message of one batch of the slice `index`, heard at `now` (monotonic seconds)."""
        stream = self._streams[index]
        heard = stream.heard
        if self._database and change.database != self._database:
            if heard is not None:
                self._break(stream)
            return
        if heard is None or heard.term != change.term or change.n != heard.n + 1:
            self._break(stream)
            stream.floor = change.n
        stream.heard = Number(change.term, change.n, change.database)
        self.messages += 1
        delay = stream.transit.delay_seconds(change.at_us, now) if change.at_us else 0.0
        if EVERY_SESSION in change.sessions:
            self._empty(stream)
            stream.floor = change.n
        else:
            for session_id in change.sessions:
                self._drop(stream, session_id, change.n)
        beat = stream.beat
        if change.as_of_us is not None and (beat is None or change.as_of_us > beat.as_of_us):
            stream.beat = AsOf(change.as_of_us, now - delay - (change.round_trip_us or 0) / 1_000_000)
            if change.wal is not None:
                stream.prove(change, change.wal, stream.beat)
            for tell in self.on_beat:
                tell(index, stream.beat.as_of_us)

    def get(self, key: Key, now: float, staleness_seconds: float) -> tuple[Answer, AsOf] | None:
        """Find an answer whose lag at `now` is below `staleness_seconds`."""
        return self._find(key, now, staleness_seconds)  # type: ignore[return-value]

    def newest(self, key: str, now: float, staleness_seconds: float) -> tuple[Newest, AsOf] | None:
        """Find what is known of a session's newest events by its `newest_key`, by the same rule."""
        return self._find(key, now, staleness_seconds)  # type: ignore[return-value]

    def end_of(self, session_id: str, now: float, staleness_seconds: float) -> tuple[StreamEnd, AsOf] | None:
        """Find the end of a session's stream, by the same rule."""
        return self._find(end_key(session_id), now, staleness_seconds)  # type: ignore[return-value]

    def arrivals(self, read: StreamRead, now: float, staleness_seconds: float) -> tuple[StreamPage, AsOf] | None:
        """Find what comes behind an offset, by the same rule."""
        return self._find(read, now, staleness_seconds)  # type: ignore[return-value]

    def store(self, key: Key, answer: Answer, freshness: AsOf, number: Number | None) -> bool:
        """Keep an answer if no message since its number can have changed it; tells whether it is kept."""
        return self._keep(key, answer, freshness, len(answer.body) + _bytes_of(key) + ENTRY_OVERHEAD_BYTES, number)

    def store_newest(self, newest: Newest, freshness: AsOf, number: Number | None) -> bool:
        """Keep what is known of a session's newest events, by the same rule, unless as much is known already."""
        known = self._entries.get(newest.key)
        if known is not None and isinstance(known.kept, Newest) and known.kept.reaches_us < newest.reaches_us:
            return False
        return self._keep(newest.key, newest, freshness, newest.size, number)

    def store_end(self, tail: StreamEnd, freshness: AsOf, number: Number | None) -> bool:
        """Keep the end of a session's stream, by the same rule."""
        size = memory_of(tail.offset) + ENTRY_OVERHEAD_BYTES
        return self._keep(end_key(tail.session_id), tail, freshness, size, number)

    def store_arrivals(self, read: StreamRead, page: StreamPage, freshness: AsOf, number: Number | None) -> bool:
        """Keep what comes behind an offset, by the same rule."""
        size = page.size + memory_of(read.offset) + ENTRY_OVERHEAD_BYTES
        return self._keep(read, page, freshness, size, number)

    def _stream_of(self, session_id: str) -> ChangeStream:
        return self._streams[self._slices.index_of(session_id)]

    def _find(self, key: Hashable, now: float, staleness_seconds: float) -> tuple[Kept, AsOf] | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        freshness, beat = entry.freshness, entry.stream.beat
        if beat is not None and beat.as_of_us > freshness.as_of_us:
            freshness = beat
        if now - freshness.since >= staleness_seconds:
            return None
        self._entries.move_to_end(key)
        return entry.kept, freshness

    def _keep(self, key: Hashable, kept: Kept, freshness: AsOf, size: int, number: Number | None) -> bool:
        session_id = kept.session_id
        stream = self._stream_of(session_id)
        if size > self.max_bytes or not self._is_current(stream, session_id, number):
            return False
        self._remove(key)
        self._entries[key] = _Entry(kept, freshness, size, stream)
        stream.keys_of.setdefault(session_id, set()).add(key)
        self.bytes += size
        while self.bytes > self.max_bytes:
            self._remove(next(iter(self._entries)))
            self.evictions += 1
        return True

    def _is_current(self, stream: ChangeStream, session_id: str, number: Number | None) -> bool:
        """Whether no message since this number can have changed a session."""
        if number is None or stream.heard is None or number.term != stream.heard.term:
            return False
        return number.n >= max(stream.floor, stream.dropped_at.get(session_id, 0))

    def _drop(self, stream: ChangeStream, session_id: str, n: int) -> None:
        for key in tuple(stream.keys_of.get(session_id, ())):
            self._remove(key)
            self.dropped += 1
        stream.dropped_at.pop(session_id, None)
        stream.dropped_at[session_id] = n
        if len(stream.dropped_at) > self._max_dropped:
            stream.floor = max(stream.floor, stream.dropped_at.popitem(last=False)[1])
        for tell in self.on_change:
            tell(session_id)

    def _break(self, stream: ChangeStream) -> None:
        self._empty(stream)
        stream.dropped_at.clear()
        stream.heard = None
        stream.beat = None  # it may promise more than a view that was put back holds
        stream.proofs.clear()
        self.breaks += 1

    def _empty(self, stream: ChangeStream) -> None:
        if len(self._streams) == 1:
            self._entries.clear()
            self.bytes = 0
        else:
            for keys in stream.keys_of.values():
                for key in keys:
                    self.bytes -= self._entries.pop(key).size
        stream.keys_of.clear()
        for tell in self.on_emptying:
            tell(stream.index)

    def _remove(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self.bytes -= entry.size
        session_id, keys_of = entry.kept.session_id, entry.stream.keys_of
        keys_of[session_id].discard(key)
        if not keys_of[session_id]:
            del keys_of[session_id]


def _bytes_of(key: Key) -> int:
    """What is long in a key: a poll may name a hundred types and steps, each a string of its own."""
    return len(key) if isinstance(key, str) else sum([len(name) + STRING_BYTES for name in key.types + key.steps])
