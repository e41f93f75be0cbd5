"""Two databases under one prefix at random: memory never gives an answer of the one where ours is the other."""

import random
from dataclasses import dataclass, field

import pytest

from query_api.memory.answers import AsOf, Number, found
from query_api.memory.response_cache import ResponseCache
from query_api.sources.own_database import OwnDatabase
from readmodel.values.messages import Change

SID = "11111111-1111-4111-8111-111111111111"
OURS, THEIRS = "1/1", "2/2"
FOREVER = 1e9


@dataclass
class World:
    """Two databases whose projectors take turns under one prefix, and an API whose address leads to either.

    An answer names its database and version; a database's version at an instant is the number of commits until then.
    """

    random: random.Random
    now: int = 0
    commits: dict[str, list[int]] = field(default_factory=lambda: {OURS: [], THEIRS: []})
    inbox: list[Change] = field(default_factory=list)
    queries: list[tuple[str, int, float, Number | None]] = field(default_factory=list)
    leads: str = OURS
    leads_to: str = OURS
    n: int = 0
    terms: int = 0
    dirty: bool = False
    hits: int = 0

    def __post_init__(self) -> None:
        self.cache = ResponseCache(100_000)
        self.own = OwnDatabase(self.cache.belong_to)

    @property
    def term(self) -> str:
        """The present term."""
        return f"t{self.terms}"

    def commit(self) -> None:
        """Somebody commits, and the letter is on its way."""
        database = self.random.choice((OURS, THEIRS))
        self.commits[database].append(self.now)
        self.dirty = self.dirty or database == self.leads

    def batch(self) -> None:
        """The leader applies what changed, and a beat; now and then it is the other database's projector."""
        if self.random.random() < 0.1:
            self.leads, self.n, self.terms, self.dirty = self.random.choice((OURS, THEIRS)), 0, self.terms + 1, True
        else:
            self.n += 1
        named = (SID,) if self.dirty and self.n else ()
        self.dirty = self.dirty and not named
        as_of = self.now if self.n and not self.dirty else None
        self.inbox.append(Change(self.term, self.n, as_of, 0, named, database=self.leads))

    def store(self, database: str, as_of: int, number: Number | None) -> None:
        """Keep an answer."""
        version = sum(at <= as_of for at in self.commits[database])
        self.cache.store(SID, found(SID, f"{database} {version}".encode(), terminal=False), AsOf(as_of, 0.0), number)

    def poll(self) -> None:
        """Memory, or else the view if it may be read, or else Postgres."""
        kept = self.cache.get(SID, 0.0, FOREVER)
        if kept:
            answer, freshness = kept
            database, version = answer.body.decode().split(" ")
            self.hits += 1
            assert database == (self.own.identity() or database)
            assert int(version) >= sum(at <= freshness.as_of_us for at in self.commits[database])
        elif not self.dirty and self.n and self.own.identity() in {"", self.leads} and self.random.random() < 0.5:
            self.store(self.leads, self.now, Number(self.term, self.n))
        else:
            self.queries.append((self.leads_to, self.now, self.now, self.cache.number_of(SID)))

    def answered(self) -> None:
        """A query ends."""
        if self.queries:
            database, as_of, sent_at, number = self.queries.pop(self.random.randrange(len(self.queries)))
            self.own.learn(database, sent_at, self.now)
            self.store(database, as_of, number if number and number.database == database else None)

    def step(self) -> None:
        """Let one of them take a step."""
        self.now += 1
        dice = self.random.random()
        if dice < 0.1:
            self.commit()
        elif dice < 0.3:
            self.batch()
        elif dice < 0.55 and self.inbox:
            self.cache.hear(self.inbox.pop(0), 0.0)
        elif dice < 0.7:
            self.answered()
        elif dice < 0.72:
            self.leads_to = self.random.choice((OURS, THEIRS))
        else:
            self.poll()


@pytest.mark.search
@pytest.mark.parametrize("first", range(0, 300, 100))
def test_no_answer_from_memory_is_another_databases(first: int) -> None:
    """Whoever leads under our prefix, and wherever our address leads."""
    hits = 0
    for seed in range(first, first + 100):
        world = World(random.Random(seed))
        for _ in range(300):
            world.step()
        hits += world.hits

    assert hits > 500
