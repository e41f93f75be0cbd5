"""The response cache under random schedules: lost messages, old dumps put back, late commands, slow queries.

An answer says which version of its session it holds. It must be at least the version that was committed at its as-of.
"""

import random
from dataclasses import dataclass, field

import pytest

from query_api.answers import AsOf, Number, found
from query_api.newest import Newest, newest_key
from query_api.response_cache import ResponseCache
from readmodel.messages import Change

SESSIONS = ("a", "b", "c")
FOREVER = 1e18


@dataclass
class View:
    """What Redis holds: its position, and each session's version."""

    term: int = 0
    n: int = 0
    as_of: int = 0
    versions: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SESSIONS, 0))

    def copy(self) -> "View":
        """Take a dump."""
        return View(self.term, self.n, self.as_of, dict(self.versions))


@dataclass(frozen=True)
class Batch:
    """What the projector sends."""

    term: int
    n: int
    versions: dict[str, int]
    as_of: int | None


class World:
    """Postgres, the projector, Redis, and one API's cache."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0
        self.committed = {session: [(0, 0)] for session in SESSIONS}  # (instant, version)
        self.changed: set[str] = set()
        self.view, self.dumps, self.terms = View(), [View()], 0
        self.projector = (0, 0)  # the term and number that it believes in
        self.inbox: list[Change] = []
        self.sent: list[Batch] = []
        self.queries: list[tuple[str, int, Number | None]] = []
        self.cache = ResponseCache(20_000, max_dropped=2)
        self.hits = 0
        self.begin()

    def version(self, session: str, at: int) -> int:
        """The version committed at an instant."""
        return max(version for instant, version in self.committed[session] if instant <= at)

    def commit(self) -> None:
        """A writer commits; its letter names the session."""
        self.now += 1
        session = self.random.choice(SESSIONS)
        self.committed[session].append((self.now, self.committed[session][-1][1] + 1))
        self.changed.add(session)

    def begin(self) -> None:
        """A new term: everything is compared with Postgres."""
        self.terms += 1
        self.view.term, self.view.n = self.terms, 0
        self.publish(())
        self.changed = set(SESSIONS)
        self.projector = (self.terms, 0)
        self.batch(beat=False)

    def batch(self, beat: bool) -> None:
        """Apply what changed, if the view is where the projector left it."""
        if (self.view.term, self.view.n) != self.projector:
            self.begin()
            return
        self.now += 1
        named, self.changed = sorted(self.changed), set()
        self.projector = (self.view.term, self.view.n + 1)
        versions = {session: self.version(session, self.now) for session in named}
        batch = Batch(*self.projector, versions, self.now if beat else None)
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

    def store(self, session: str, version: int, as_of: int, number: Number | None) -> None:
        """Keep an answer, and that nothing is later than what it holds."""
        freshness = AsOf(as_of, 0.0)
        self.cache.store(session, found(session, str(version).encode(), terminal=False), freshness, number)
        self.cache.store_newest(Newest(session, version, False), freshness, number)

    def poll(self) -> None:
        """Answer from memory, else read one of the stores."""
        session = self.random.choice(SESSIONS)
        known, kept = self.cache.newest(newest_key(session), 0.0, FOREVER), self.cache.get(session, 0.0, FOREVER)
        if known is not None:
            newest, freshness = known
            assert newest.reaches_us >= self.version(session, freshness.as_of_us)
        if kept is not None:
            answer, freshness = kept
            assert int(answer.body) >= self.version(session, freshness.as_of_us)
            self.hits += 1
        elif self.random.random() < 0.5:
            view = self.view
            self.store(session, view.versions[session], view.as_of, Number(str(view.term), view.n))
        else:
            self.now += 1
            self.queries.append((session, self.now, self.cache.number_of(session)))

    def answer(self) -> None:
        """A query of Postgres ends: it saw what was committed when it began."""
        if self.queries:
            session, as_of, number = self.queries.pop(self.random.randrange(len(self.queries)))
            self.store(session, self.version(session, as_of), as_of, number)

    def step(self) -> None:
        """Let one of them take a step."""
        dice = self.random.random()
        if dice < 0.15:
            self.commit()
        elif dice < 0.30:
            self.batch(beat=self.random.random() < 0.6)
        elif dice < 0.32:
            self.view = self.random.choice(self.dumps).copy()
        elif dice < 0.40:
            for batch in self.sent:
                self.apply(batch)  # commands that arrive long after they were given up
        elif dice < 0.65:
            if self.inbox:
                self.cache.hear(self.inbox.pop(0), 0.0)
        elif dice < 0.75:
            self.answer()
        else:
            self.poll()


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_no_answer_from_memory_is_older_than_its_as_of(first: int) -> None:
    """Whatever is lost, late or put back."""
    hits = 0
    for seed in range(first, first + 100):
        world = World(seed)
        for _ in range(300):
            world.step()
        hits += world.hits

    assert hits > 1000
