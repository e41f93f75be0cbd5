"""A table of sessions on a clock of the test's own, and all that it told others."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from projector.core.sessions import Ending, Load, LoadOutcome, Sessions, Transition


class Clock:
    """A monotonic clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Table:
    """`begun` are the loads that it began, `settled` the wishes that ended, `noted` the transitions, in order."""

    most: int = 10
    ttl_seconds: float = 60.0
    clock: Clock = field(default_factory=Clock)
    begun: list[Load] = field(default_factory=list)
    settled: list[tuple[str, Ending]] = field(default_factory=list)
    noted: list[tuple[Transition, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sessions = Sessions(self.ttl_seconds, self.most, self, self.begun.append, self._settle, self.clock)

    def note(self, transition: Transition, session_id: str, reason: str = "") -> None:
        """Watch."""
        assert reason or transition not in {"set_aside", "failed"}
        self.noted.append((transition, session_id))

    def _settle(self, session_id: str, ending: Ending) -> None:
        self.settled.append((session_id, ending))

    def forget(self) -> None:
        """Forget what was told until now."""
        for told in (self.begun, self.settled, self.noted):
            told.clear()

    def load(self, session_id: str, outcome: LoadOutcome | None = None, arrived: Iterable[str] = ()) -> Load:
        """The load under way of a session, with an outcome if it has one by now."""
        load = self.sessions.load_of(session_id)
        assert load is not None
        load.outcome = outcome
        load.arrived |= dict.fromkeys(arrived)
        return load

    def says(self) -> tuple[list[str], list[str], dict[str, str]]:
        """What it says: who is hot, who is loading, who is set aside."""
        return sorted(self.sessions.hot), sorted(self.sessions.loading), dict(self.sessions.aside)


def table(
    hot: Mapping[str, float] | Iterable[str] = (),
    loading: Iterable[str] = (),
    aside: Iterable[str] = (),
    *,
    most: int = 10,
    ttl_seconds: float = 60.0,
) -> Table:
    """Make a table in which these are hot (idle for so many seconds), loading, and set aside; nothing is told yet."""
    made = Table(most, ttl_seconds)
    idle = hot if isinstance(hot, Mapping) else dict.fromkeys(hot, 0.0)
    for session_id, seconds in idle.items():
        made.sessions.keep(session_id, seconds)
    for session_id in loading:
        made.sessions.start(session_id)
    for session_id in aside:
        made.sessions.set_aside(session_id, f"{session_id} is bad")
    made.forget()
    return made
