"""`readside warm`, `readside rebuild` and `readside verify`: sessions named, hot, or all."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Protocol

import orjson
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from readmodel.errors import ForeignView, InvalidParameter, ServiceError
from readmodel.postgres.client import check_server, target
from readmodel.postgres.tables import look_for_tables
from readmodel.redis.client import target as redis_target
from readmodel.values.ids import parse_session_id
from readmodel.values.messages import ProjectorRequest
from readmodel.view.keys import other_slices
from readmodel.view.look import look
from readmodel.view.projection import read_projection
from readmodel.view.reader import Position, ViewReader
from readmodel.view.whole import WholeView
from readside.commands.projector_client import ask
from readside.commands.stores import NAME, open_pool, open_postgres, open_view
from readside.commands.terminal import drawing_console, plain, tell
from readside.inspection.verdict import Verdict
from readside.inspection.verify import Verifier
from readside.settings import Settings

STALLED_SECONDS = 5.0
"""Work that gets no further for so long waits for something."""
_SHOWN_IDS = 10


class _Follow(Protocol):
    def __call__(self, done: int, total: int) -> None: ...


async def warm(settings: Settings, sessions: Sequence[str]) -> int:
    """Bring sessions into Redis; 1 when any of them is not hot in the end."""
    outcomes: dict[str, str] = {}
    async with open_view(settings) as view:
        await _request(view, ProjectorRequest("warm", _ids(sessions), reply=True), "Warming", outcomes)
    return _conclude(outcomes, len(set(_ids(sessions))))


async def rebuild(settings: Settings, sessions: Sequence[str], *, everything: bool) -> int:
    """Reload sessions from Postgres; 1 when any of them is not hot in the end."""
    if sessions and everything:
        raise InvalidParameter("--all", "Name sessions, or give --all, not both.")
    request = ProjectorRequest("rebuild", _ids(sessions), everything=everything, reply=True)
    outcomes: dict[str, str] = {}
    async with open_view(settings) as view:
        await _request(view, request, "Rebuilding", outcomes)
    return _conclude(outcomes, len(outcomes))


async def verify(settings: Settings, sessions: Sequence[str], *, repair: bool, as_json: bool) -> int:
    """Compare sessions with Postgres; 1 on any difference, repaired or not, else 2 where slices could not be looked at.

    Raises ViewUnavailable, AccessRefused or ForeignView where none could be, or the view is not ours. What is raised
    later (NotLive, NoLeader, the stores' errors) comes after the report of what was found until then.
    """
    named = _ids(sessions)
    async with open_view(settings) as view, open_pool(settings) as pool:
        away = await _away(settings, view)
        meant = {view.slices.index_of(session_id) for session_id in named} if named else away.keys()
        report = _Report({index: plain(str(away[index])) for index in sorted(meant & away.keys())})
        url = settings.require_database_url()
        try:
            tables = await look_for_tables(url, application_name=NAME)
            wanted = [sid for sid in named or await _hot(view, away) if view.slices.index_of(sid) not in away]
            with _progress("Comparing", quiet=as_json) as follow:
                async for verdict in Verifier(view, pool, url, tables).verify(wanted):
                    report.verdicts.append(verdict)
                    follow(len(report.verdicts), len(wanted))
            if repair and report.different:
                request = ProjectorRequest("repair", tuple(one.session_id for one in report.different), reply=True)
                await _request(view, request, "Repairing", report.repaired, quiet=as_json)
        finally:
            report.tell(as_json=as_json)
    return 1 if report.different else 2 if report.not_compared else 0


async def _hot(view: WholeView, away: Container[int]) -> list[str]:
    """The hot sessions of the slices that answer."""
    there = [part for index, part in enumerate(view.parts) if index not in away]
    if len(there) == len(view.parts):
        return [session_id for session_id, _ in await view.hot_sessions()]
    return [session_id for part in there for session_id, _ in await part.hot_sessions()]


async def _away(settings: Settings, view: WholeView) -> dict[int, ServiceError]:
    """Tell which slices cannot be looked at, and why.

    Raises ForeignView where the view is not ours, and the stores' errors though nothing be hot.
    """
    seen = (await look(view, with_apis=False)).slices
    away = {index: one for index, one in sorted(seen.items()) if isinstance(one, ServiceError)}
    if len(away) == len(seen):
        raise away[0]
    url = settings.require_database_url()
    async with open_postgres(settings) as connection:
        server = await check_server(connection, url)
    for part, one in zip(view.parts, (seen[index] for index in range(len(view.parts))), strict=True):
        position = None if isinstance(one, ServiceError) else one.position
        if position is not None:
            _refuse_foreign(part, position, server.database, f"{target(url)} under the prefix {settings.redis_prefix}")
    return away


def _refuse_foreign(part: ViewReader, position: Position, database: str, ours: str) -> None:
    """Raise ForeignView where the view is of another database than ours, or in another number of slices."""
    place = f"Redis at {redis_target(part.redis)} holds the view of another"
    if position.database not in {"", database}:
        raise ForeignView(f"{place} database ({position.database}) than {ours}.")
    differ = other_slices(position.version, part.keys.version)
    if differ:
        raise ForeignView(f"{place} READSIDE_SLICES: {differ}.")


async def _request(
    view: WholeView, request: ProjectorRequest, what: str, outcomes: dict[str, str], *, quiet: bool = False
) -> None:
    """Have the leader do it; `outcomes` gets what became of each session as soon as that is known."""
    stall = _Stall(view)
    with _progress(what, quiet=quiet) as follow:
        async for reply in ask(view.reporting, request):
            outcomes.update(reply.sessions)
            follow(reply.done, reply.total)
            if reply.state == "failed":
                raise ServiceError(f"{what} was cut short: {reply.detail}.")
            await stall.look(reply.done)


class _Stall:
    """Says once what long work waits for: sessions of a slice that is away are loaded when it is back."""

    def __init__(self, view: WholeView) -> None:
        self._view = view
        self._done = -1
        self._since = time.monotonic()

    async def look(self, done: int) -> None:
        now = time.monotonic()
        if done != self._done:
            self._done, self._since = done, now
        elif now - self._since > STALLED_SECONDS:
            self._since = math.inf
            projection = await read_projection(self._view, math.inf, with_apis=False)
            if projection.slices and projection.reason:
                tell(f"Waiting: {plain(projection.reason)}", err=True)


@contextmanager
def _progress(what: str, *, quiet: bool) -> Iterator[_Follow]:
    """Follow long work: a bar on a terminal, a line every tenth part elsewhere, nothing when quiet."""
    if quiet:
        yield _follow_nothing
    elif console := drawing_console(stderr=True):
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task(what, total=None)
            yield lambda done, total: progress.update(bar, completed=done, total=total)
    else:
        yield _Lines(what)


def _follow_nothing(done: int, total: int) -> None:
    """Follow long work without a word."""


class _Lines:
    """Prints a line whenever another tenth is done."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._said = -1

    def __call__(self, done: int, total: int) -> None:
        tenth = 10 * done // total if total else 0
        if total and tenth > self._said:
            self._said = tenth
            tell(f"{self._what}: {done} of {total} sessions", err=True)


def _conclude(outcomes: dict[str, str], asked: int) -> int:
    counts = Counter(outcomes.values())
    tell(f"{counts['hot']} of {asked} sessions are hot.")
    for outcome, meaning in _MEANINGS.items():
        ids = [session_id for session_id, found in outcomes.items() if found == outcome]
        if ids:
            more = f" and {len(ids) - _SHOWN_IDS} more" if len(ids) > _SHOWN_IDS else ""
            tell(f"{len(ids)} {meaning}: {', '.join(ids[:_SHOWN_IDS])}{more}", err=True)
    return 0 if counts["hot"] == asked else 1


_MEANINGS = {
    "missing": "do not exist in Postgres",
    "set_aside": "hold what Redis cannot, and stay with Postgres (`readside explain` says why)",
    "no_room": "found no room (READSIDE_MAX_HOT_SESSIONS)",
    "failed": "could not be loaded",
}


@dataclass
class _Report:
    """What `verify` found: a verdict for each session, what became of repairs, and why slices were not compared."""

    not_compared: dict[int, str]
    verdicts: list[Verdict] = field(default_factory=list)
    repaired: dict[str, str] = field(default_factory=dict)

    @property
    def different(self) -> list[Verdict]:
        """Those on which view and Postgres differ."""
        return [verdict for verdict in self.verdicts if verdict.state == "different"]

    def tell(self, *, as_json: bool) -> None:
        """Print it, for machines or for people."""
        cold = sum(verdict.state == "cold" for verdict in self.verdicts)
        if as_json:
            body = {
                "compared": len(self.verdicts) - cold,
                "cold": cold,
                "different": [asdict(verdict) for verdict in self.different],
                "repaired": self.repaired,
                "not_compared": {str(index): reason for index, reason in self.not_compared.items()},
            }
            tell(orjson.dumps(body, option=orjson.OPT_INDENT_2).decode())
        else:
            for verdict in self.different:
                tell(f"{verdict.session_id}: {_describe(verdict)}", err=True)
            tell(f"{len(self.verdicts) - cold} sessions compared, {len(self.different)} different, {cold} not hot.")
            if self.repaired:
                tell(f"{sum(outcome in {'hot', 'missing'} for outcome in self.repaired.values())} repaired.")
        for index, reason in self.not_compared.items():
            tell(f"Slice {index} was not compared: {reason}", err=True)


def _describe(verdict: Verdict) -> str:
    parts = [
        f"{len(events)} events {what} ({', '.join(events[:3])}{', ...' if len(events) > 3 else ''})"
        for what, events in (
            ("missing", verdict.missing),
            ("too many", verdict.extra),
            ("with other content", verdict.changed),
            ("not found by type", verdict.unindexed),
        )
        if events
    ]
    return "; ".join([*parts, *(["totals are wrong"] if verdict.totals else [])])


def _ids(sessions: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(parse_session_id, sessions)))
