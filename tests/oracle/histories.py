"""What was and what may have been: commits, and the lives of sessions and events between them. No I/O.

Every commit happened at some instant of an interval: it was sent at its `earliest` and acknowledged by its `latest`,
microseconds since 1970. A fact whose commit got no answer stays open until the writer has found out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

NEVER = 2**62
"""Later than any instant: µs since 1970."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STEPS = tuple(f"{number:08}-5555-4555-8555-555555555555" for number in range(3))


def instant(us: int) -> datetime:
    """The instant so many microseconds after 1970."""
    return EPOCH + timedelta(microseconds=us)


def timestamp_text(us: int) -> str:
    """The same as answers show it."""
    return instant(us).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(eq=False, slots=True)
class Commit:
    """One commit: at some instant in [earliest, latest], as far as is known; `earliest` NEVER when it failed."""

    earliest: int
    latest: int = NEVER

    def failed(self) -> None:
        """Take back that it may have happened."""
        self.earliest = self.latest = NEVER


@dataclass(frozen=True, slots=True)
class Event:
    """A row of events, as written."""

    id: str
    session_id: str
    event_type: str
    data: dict[str, object]
    message: str | None
    timestamp_us: int
    legacy: str | None = None
    """What the column holds that a migration put aside; no poll shows it."""
    _shown: dict[str, object] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What a poll shows of it, once somebody asked: all answers are compared with it."""

    @property
    def timestamp(self) -> datetime:
        """When it says that it happened."""
        return instant(self.timestamp_us)

    @property
    def step_id(self) -> str | None:
        """Three of four events belong to a step: which one, their ids tell."""
        return (None, *STEPS)[int(self.id[-1], 16) % 4]

    def item(self) -> dict[str, object]:
        """What a poll must show of it."""
        if not self._shown:
            self._shown.update(
                id=self.id,
                session_id=self.session_id,
                step_id=self.step_id,
                event_type=self.event_type,
                event_data=self.data,
                message=self.message,
                timestamp=timestamp_text(self.timestamp_us),
            )
        return self._shown


@dataclass(eq=False, slots=True)
class Migration:
    """A commit that changed what every row of events read as."""

    commit: Commit
    change: Callable[[Event], Event]


@dataclass(eq=False, slots=True)
class Life:
    """From one commit to another: of a session when `event` is None. Any of the `deaths` may have failed.

    No migration overtakes a writer: it waits for all who wrote before it. So its rows lived through the `migrations`
    from number `first` on.
    """

    born: Commit
    event: Event | None = None
    deaths: list[Commit] = field(default_factory=list)
    migrations: list[Migration] = field(default_factory=list)
    first: int = 0
    read_as: list[Event] = field(default_factory=list)
    """What it read as after each of them, as far as anybody asked."""
    taken_back: bool = False
    """Whether a crash ended it, as if it had never been."""

    def certain(self, since: int, until: int) -> bool:
        """Whether it was there at every instant of [since, until]."""
        born = self.born.latest < since
        return born and (not self.deaths or all(death.earliest > until for death in self.deaths))

    def possible(self, since: int, until: int) -> bool:
        """Whether it can have been there at any instant of [since, until]."""
        born = self.born.earliest <= until
        return born and (not self.deaths or all(death.latest >= since for death in self.deaths))

    def readings(self, since: int, until: int) -> list[Event]:
        """What its row can have read as at any instant of [since, until]."""
        if self.event is None:
            return []
        if len(self.migrations) <= self.first:  # a hundred thousand are asked in a run, most before any migration
            return [self.event]
        later = self.migrations[self.first :]
        self.read_as = self.read_as or [self.event]
        for migration in later[len(self.read_as) - 1 :]:
            self.read_as.append(migration.change(self.read_as[-1]))
        begins = [0, *(migration.commit.earliest for migration in later)]
        ends = [*(migration.commit.latest for migration in later), NEVER]
        spans = zip(self.read_as, begins, ends, strict=True)
        return [event for event, begin, end in spans if begin <= until and end >= since]

    @property
    def open_ended(self) -> bool:
        """Whether it may be there now, as far as was ever sent."""
        born = self.born.earliest < NEVER
        return born and (not self.deaths or all(death.earliest == NEVER for death in self.deaths))


@dataclass(eq=False, slots=True)
class History:
    """All lives of one session and of its events. A deletion ends whatever life its id has: one may have failed."""

    session_id: str
    lives: list[Life] = field(default_factory=list)
    events: list[Life] = field(default_factory=list)
    by_id: dict[str, list[Life]] = field(default_factory=dict)

    def there(self) -> set[str] | None:
        """Ids of the events that are there when all is quiet; None when the session is not."""
        if not self.current:
            return None
        return {event_id for event_id, lives in self.by_id.items() if any(life.open_ended for life in lives)}

    @property
    def current(self) -> bool:
        """Whether the session may be there now."""
        return any(life.open_ended for life in self.lives)


@dataclass(eq=False, slots=True)
class Break:
    """That Postgres crashed, or lost what we installed in it: offsets of streams end there."""

    began: int
    is_crash: bool = True
    over: int = NEVER


@dataclass(eq=False, slots=True)
class Edit:
    """That somebody edited in Redis what is served of a session: from when, and when it was seen to be mended."""

    session_id: str
    began: int
    over: int = NEVER
