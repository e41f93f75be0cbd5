"""The response cache under random schedules: lost messages, old dumps put back, late commands, slow queries.

All of that happens to each slice of the view by itself.
An answer says which version of its session it holds. It must be at least the version that was committed at its as-of.
"""

import random
from dataclasses import dataclass

import pytest

from query_api.memory.answers import AsOf, Number, found
from query_api.memory.newest import Newest, newest_key
from query_api.memory.response_cache import ResponseCache
from readmodel.values.messages import Change
from readmodel.view.slices import Slices
from tests.model.planting import Plant, planted
from tests.support.slicing import session_in

FOREVER = 1e18


@dataclass
class View:
    """What Redis holds of a slice: its position, and each session's version."""

    versions: dict[str, int]
    term: int = 0
    n: int = 0
    as_of: int = 0

    def copy(self) -> "View":
        """Take a dump."""
        return View(dict(self.versions), self.term, self.n, self.as_of)


@dataclass(frozen=True)
class Batch:
    """What the projector sends."""

    term: int
    n: int
    versions: dict[str, int]
    as_of: int | None


class Writes:
    """Postgres: each version of each session, by the instant of its commit."""

    def __init__(self) -> None:
        self.now = 0
        self.committed: dict[str, list[tuple[int, int]]] = {}

    def begin(self, session: str) -> None:
        """A session's first version was always there."""
        self.committed[session] = [(0, 0)]

    def version(self, session: str, at: int) -> int:
        """The version committed at an instant."""
        return next(version for instant, version in reversed(self.committed[session]) if instant <= at)

    def commit(self, session: str) -> None:
        """A writer commits."""
        self.now += 1
        self.committed[session].append((self.now, self.committed[session][-1][1] + 1))


class Slice:
    """One slice of the view, and what the projector knows of it."""

    def __init__(self, random: random.Random, writes: Writes, sessions: tuple[str, ...]) -> None:
        self.random, self.writes, self.sessions = random, writes, sessions
        for session in sessions:
            writes.begin(session)
        self.changed: set[str] = set()
        self.view, self.terms = View(dict.fromkeys(sessions, 0)), 0
        self.dumps = [self.view.copy()]
        self.projector = (0, 0)  # the term and number that it believes in
        self.inbox: list[Change] = []
        self.sent: list[Batch] = []
        self.begin()

    def commit(self) -> None:
        """A writer commits; its letter names the session."""
        session = self.random.choice(self.sessions)
        self.writes.commit(session)
        self.changed.add(session)

    def begin(self) -> None:
        """A new term: everything is compared with Postgres."""
        self.terms += 1
        self.view.term, self.view.n = self.terms, 0
        self.publish(())
        self.changed = set(self.sessions)
        self.projector = (self.terms, 0)
        self.batch(beat=False)

    def batch(self, beat: bool) -> None:
        """Apply what changed, if the view is where the projector left it."""
        if (self.view.term, self.view.n) != self.projector:
            self.begin()
            return
        self.writes.now += 1
        now = self.writes.now
        named, self.changed = sorted(self.changed), set()
        self.projector = (self.view.term, self.view.n + 1)
        versions = {session: self.writes.version(session, now) for session in named}
        batch = Batch(*self.projector, versions, now if beat else None)
        self.apply(batch)
        self.dumps = [*self.dumps[-5:], self.view.copy()]
        self.sent = [*self.sent[-5:], batch]

    def apply(self, batch: "Batch") -> None:
        """Do what the script does: only the next number of the same term changes anything."""
        if (self.view.term, self.view.n) == (batch.term, batch.n - 1):
            self.view.versions.update(batch.versions)
            self.view.n = batch.n
            self.view.as_of = batch.as_of or self.view.as_of
            self.publish(tuple(batch.versions), batch.as_of)

    def publish(self, named: tuple[str, ...], as_of: int | None = None) -> None:
        """Publish; one message in twenty is lost."""
        if self.random.random() > 0.05:
            self.inbox.append(Change(str(self.view.term), self.view.n, as_of, 0, named))


class World:
    """Postgres, the projector, Redis, and one API's cache."""

    def __init__(self, seed: int, count: int) -> None:
        self.random = random.Random(seed)
        self.writes = Writes()
        slices, each = Slices("", count=count), 3 if count == 1 else 1
        self.slices = [
            Slice(self.random, self.writes, tuple(session_in(slices, index, place) for place in range(each)))
            for index in range(count)
        ]
        self.queries: list[tuple[str, int, Number | None]] = []
        self.cache = ResponseCache(20_000, slices, max_dropped=2 * count)
        self.hits = 0

    def store(self, session: str, version: int, as_of: int, number: Number | None) -> None:
        """Keep an answer, and that nothing is later than what it holds."""
        freshness = AsOf(as_of, 0.0)
        self.cache.store(session, found(session, str(version).encode(), terminal=False), freshness, number)
        self.cache.store_newest(Newest(session, version, False), freshness, number)

    def poll(self, of: Slice) -> None:
        """Answer from memory, else read one of the stores."""
        session, version = self.random.choice(of.sessions), self.writes.version
        known, kept = self.cache.newest(newest_key(session), 0.0, FOREVER), self.cache.get(session, 0.0, FOREVER)
        if known is not None:
            newest, freshness = known
            assert newest.reaches_us >= version(session, freshness.as_of_us)
        if kept is not None:
            answer, freshness = kept
            assert int(answer.body) >= version(session, freshness.as_of_us)
            self.hits += 1
        elif self.random.random() < 0.5:
            view = of.view
            self.store(session, view.versions[session], view.as_of, Number(str(view.term), view.n))
        else:
            self.writes.now += 1
            self.queries.append((session, self.writes.now, self.cache.number_of(session)))

    def answer(self) -> None:
        """A query of Postgres ends: it saw what was committed when it began."""
        if self.queries:
            session, as_of, number = self.queries.pop(self.random.randrange(len(self.queries)))
            self.store(session, self.writes.version(session, as_of), as_of, number)

    def step(self) -> None:
        """Let one of them take a step."""
        dice, index = self.random.random(), self.random.randrange(len(self.slices))
        of = self.slices[index]
        if dice < 0.15:
            of.commit()
        elif dice < 0.30:
            of.batch(beat=self.random.random() < 0.6)
        elif dice < 0.32:
            of.view = self.random.choice(of.dumps).copy()
        elif dice < 0.40:
            for batch in of.sent:
                of.apply(batch)  # commands that arrive long after they were given up
        elif dice < 0.65:
            if of.inbox:
                self.cache.hear(of.inbox.pop(0), 0.0, index)
        elif dice < 0.75:
            self.answer()
        else:
            self.poll(of)


def hits_of(count: int, seeds: range) -> int:
    """Run as many worlds, each of so many slices; gives the polls that memory answered."""
    hits = 0
    for seed in seeds:
        world = World(seed, count)
        for _ in range(300):
            world.step()
        hits += world.hits
    return hits


@pytest.mark.search
@pytest.mark.parametrize(("count", "first"), [*((1, first) for first in range(0, 400, 100)), (3, 0), (3, 100)])
def test_no_answer_from_memory_is_older_than_its_as_of(count: int, first: int) -> None:
    """Whatever is lost, late or put back, in whichever slice."""
    assert hits_of(count, range(first, first + 100)) > 1000


_CACHE = "query_api.memory.response_cache:ResponseCache"
PLANTS = {
    "a break of one slice leaves its answers": Plant(
        "a break in a slice's numbers drops its answers", f"{_CACHE}._break", "self._empty(stream)", "pass"
    ),
    "a slice's as-of is from another's beat": Plant(
        "a beat raises the as-of of its own slice's answers alone",
        f"{_CACHE}._find",
        "entry.stream.beat",
        "max(filter(None, self.beats), key=lambda beat: beat.as_of_us, default=None)",
    ),
    "a beat is noted of every slice": Plant(
        "a beat raises the as-of of its own slice's answers alone",
        f"{_CACHE}.hear",
        "stream.beat = AsOf(",
        "for stream in self._streams: stream.beat = AsOf(",
    ),
    "the slices count together": Plant(
        "a missed number of a slice is a break, whatever another's numbers are",
        f"{_CACHE}.hear",
        "change.n != heard.n + 1",
        "change.n not in {1 + one.heard.n for one in self._streams if one.heard}",
    ),
    "an answer has another slice's number": Plant(
        "an answer of Postgres has the number of its own session's slice",
        f"{_CACHE}.number_of",
        "return self._stream_of(session_id).heard",
        "return max((one.heard for one in self._streams if one.heard), key=lambda heard: heard.n, default=None)",
    ),
    "a message drops answers of its first slice": Plant(
        "a message drops the answers of the sessions that it names, in its own slice",
        f"{_CACHE}._drop",
        "tuple(stream.keys_of",
        "tuple(self._streams[0].keys_of",
    ),
}


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_found(name: str) -> None:
    """Else the schedules would show nothing."""
    with planted(PLANTS[name]), pytest.raises(AssertionError):
        hits_of(3, range(400))
