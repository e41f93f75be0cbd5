"""How far behind the view is, and why: one answer for the API and the command line."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

import orjson

from readmodel.errors import ServiceError, StoreRefused, StoreUnavailable
from readmodel.values.event import ENCODING_VERSION
from readmodel.values.freshness import rfc3339
from readmodel.view.keys import other_slices
from readmodel.view.look import Look, ReportHash, SliceLook, look
from readmodel.view.reader import Position
from readmodel.view.whole import WholeView

FRESH_REPORT_SECONDS = 5.0
"""An older report is a dead projector's: they report every second."""

FRESH_API_SECONDS = 10.0
"""An older report is a dead API process': they report every three seconds."""

SILENT_SECONDS = 2.0
"""A leader that has not reported for so long, while as-of stood still, may be gone: status says so at once."""

FOREIGN = "The view is of "
"""So begins the reason where a view is another database's, or another version's: nobody reads it."""

Status = Literal["live", "catching_up", "stale", "down"]


class Bounds(NamedTuple):
    """What a view is held against: its age, the database that it must be of ("": any), and how it must be written."""

    max_staleness_seconds: float
    database: str = ""
    version: str = ENCODING_VERSION


@dataclass(frozen=True, slots=True)
class SliceState:
    """The same of one slice of several; `node` is the server that it is taken to be on.

    Of a slice whose server is away, `as_of` and `lag_ms` are what the leader last knew.
    """

    slice: int
    node: str
    status: Status
    reason: str | None
    as_of: str | None
    lag_ms: int | None
    hot_sessions: int | None
    term: str | None
    batch: int | None


@dataclass(frozen=True, slots=True)
class Projection:
    """Lag and state. `as_of` is RFC 3339, `lag_ms` how old it is; both None where no beat was ever applied.

    Of several slices the view is as old as the oldest and as well as the worst; `slices` tells of each, and has none
    where the view is one, which alone has `term` and `batch`.

    `reason` says in one sentence why the status is not live; `leader` and `standbys` are the projectors' own reports.
    `writable` says whether Redis takes writes, None where it could not be asked. `apis` are the reports of the API
    processes: how many connections each has, and may have.
    """

    status: Status
    reason: str | None = None
    as_of: str | None = None
    lag_ms: int | None = None
    hot_sessions: int | None = None
    term: str | None = None
    batch: int | None = None
    database: str | None = None
    leader: Mapping[str, Any] | None = None
    standbys: tuple[Mapping[str, Any], ...] = ()
    writable: bool | None = None
    apis: tuple[Mapping[str, Any], ...] = ()
    slices: tuple[SliceState, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The fields for JSON."""
        return asdict(self)


async def read_projection(
    view: WholeView, max_staleness_seconds: float, database: str = "", *, with_apis: bool = True
) -> Projection:
    """Ask Redis how the projection is; never raises for a store: a Redis that is away is `down`.

    So is the view of another database than `database`, unless that is "".
    """
    try:
        return await ask_projection(view, max_staleness_seconds, database, with_apis=with_apis)
    except (StoreUnavailable, StoreRefused) as error:
        return unreachable(error)


def unreachable(error: Exception) -> Projection:
    """Say of a projection that could not be asked why."""
    return Projection(status="down", reason=str(error))


async def ask_projection(
    view: WholeView, max_staleness_seconds: float, database: str = "", *, with_apis: bool = True
) -> Projection:
    """Ask the same where no slice can be asked is an error: raises ViewUnavailable, AccessRefused or ForeignView."""
    seen = await look(view, with_apis=with_apis)
    errors = [one for one in seen.slices.values() if isinstance(one, ServiceError)]
    if len(errors) == len(seen.slices):
        raise errors[0]
    bounds = Bounds(max_staleness_seconds, database, view.slices.keys[0].version)
    return judge_all(seen, [view.node(index) for index in range(len(view.parts))], bounds)


class FreshReport(NamedTuple):
    """What a living process reports of itself, and how old that is."""

    told: dict[str, Any]
    age_us: int


def newest_reports(hashes: Iterable[ReportHash], within_seconds: float) -> list[FreshReport]:
    """The newest report of each living process, in the order in which they began.

    Its age is by the clock of the server that holds it: these may differ.
    """
    newest: dict[str, FreshReport] = {}
    for reports, now_us in hashes:
        for name, raw in reports.items():
            told = _unless_older(raw, now_us, within_seconds)
            if told is None:
                continue
            report = FreshReport(told, now_us - told["reported_at_us"])
            if name not in newest or report.age_us < newest[name].age_us:
                newest[name] = report
    return sorted(newest.values(), key=lambda report: str(report.told.get("started_at")))


def fresh_reports(
    reports: Mapping[str, bytes], now_us: int, within_seconds: float = FRESH_REPORT_SECONDS
) -> list[dict[str, Any]]:
    """Parse the reports of living processes; `now_us` is Redis' clock."""
    return [report.told for report in newest_reports([ReportHash(reports, now_us)], within_seconds)]


def slices_of(report: Mapping[str, Any]) -> int:
    """Read off a process' report how many slices it takes the view to have; one that does not say has one."""
    count = report.get("slices_count", 1)
    return count if isinstance(count, int) else 1


def other_slices_than_leader(leader: int, ours: int) -> str:
    """Say how a process and the projector that leads disagree about the slices."""
    return (
        f"The leading projector is set to READSIDE_SLICES={leader}, and this process to {ours}: all processes of a "
        "deployment need the same number."
    )


def old_reports(reports: Mapping[str, bytes], now_us: int, within_seconds: float) -> list[str]:
    """Name the processes whose reports are older, or cannot be read."""
    return [name for name, raw in reports.items() if _unless_older(raw, now_us, within_seconds) is None]


def _unless_older(raw: bytes, now_us: int, within_seconds: float) -> dict[str, Any] | None:
    try:
        report: dict[str, Any] = orjson.loads(raw)
        return report if now_us - report["reported_at_us"] <= within_seconds * 1_000_000 else None
    except (ValueError, KeyError, TypeError):
        return None  # a report of another version is nobody's outage


class Reports(NamedTuple):
    """What the projectors report: the one that leads, how long ago it did, and the others.

    `slices` is what the leader says of those that are not live.
    """

    leader: Mapping[str, Any] | None
    silent_us: int
    others: tuple[Mapping[str, Any], ...]
    slices: Mapping[int, Mapping[str, Any]]

    def of_slice(self, index: int) -> Reports:
        """The same as it is of one slice of several: the leader tells of those that are not live."""
        if self.leader is None or "slices" not in self.leader:
            return self
        said = self.slices.get(index, {"state": "live"})
        return self._replace(leader={**self.leader, "state": said.get("state"), "reason": said.get("reason")})


_UNKNOWN = Reports({}, 0, (), {})
"""Where no report can be read nobody knows who leads."""


def sorted_out(reports: Sequence[FreshReport]) -> Reports:
    """Tell the leader, of two the younger, from the others."""
    leaders = [report for report in reports if report.told.get("role") == "leader"]
    leader = leaders[-1] if leaders else None
    others = tuple(report.told for report in reports if report is not leader)
    if leader is None:
        return Reports(None, 0, others, {})
    told = leader.told.get("slices")
    slices = (
        [one for one in told if isinstance(one, dict) and isinstance(one.get("slice"), int)]
        if isinstance(told, list)
        else []
    )
    return Reports(leader.told, leader.age_us, others, {one["slice"]: one for one in slices})


def judge_all(seen: Look, nodes: Sequence[str], bounds: Bounds) -> Projection:
    """Judge what was seen of all slices, of which `nodes` are the servers: at least one of them answered."""
    reports = sorted_out(newest_reports(seen.projectors, FRESH_REPORT_SECONDS)) if seen.projectors else _UNKNOWN
    judged, away = list[Projection](), set[int]()
    for index in range(len(nodes)):
        one, of_slice = seen.slices[index], reports.of_slice(index)
        if isinstance(one, ServiceError):
            away.add(index)
            judged.append(_away(one, index, of_slice))
        else:
            judged.append(judge(one, of_slice, bounds))
    whole = judged[0] if len(judged) == 1 else _together(judged, nodes, away, reports)
    return replace(whole, apis=tuple(report.told for report in newest_reports(seen.apis, FRESH_API_SECONDS)))


def judge(seen: SliceLook, reports: Reports, bounds: Bounds) -> Projection:
    """Judge a slice as if it were the whole view."""
    position = seen.position
    status, reason = _status(position, reports.leader, reports.others, bounds)
    if seen.write_refusal:
        status, reason = "down", seen.write_refusal  # no projector can write anything, its report included
    elif status == "live" and reports.leader:
        status, reason = _standing(position, reports.leader, reports.silent_us)
    known = position or Position("", 0, live=False, as_of_us=None, lag_us=None, version="", database="")
    return Projection(
        status=status,
        reason=reason,
        as_of=None if known.as_of_us is None else rfc3339(known.as_of_us),
        lag_ms=None if known.lag_us is None else known.lag_us // 1000,
        hot_sessions=seen.hot_sessions,
        term=known.term or None,
        batch=known.n if position else None,
        database=known.database or None,
        leader=reports.leader or None,
        standbys=reports.others,
        writable=seen.write_refusal is None,
    )


def _away(error: ServiceError, index: int, reports: Reports) -> Projection:
    """Say of a slice that cannot be asked why, and what the leader last knew of it.

    It says nothing of one that it finds live: then the as-of of all is that one's, and may be old.
    """
    said = reports.slices.get(index) or reports.leader or {}
    as_of, age_ms = said.get("as_of"), said.get("as_of_age_ms")
    known = isinstance(as_of, str) and isinstance(age_ms, int)
    return Projection(
        status="down",
        reason=str(error),
        as_of=str(as_of) if known else None,
        lag_ms=int(age_ms or 0) + reports.silent_us // 1000 if known else None,
    )


SHOWN_SLICES = 8
"""A reason names so many slices."""
_BADNESS: tuple[Status, ...] = ("live", "catching_up", "stale", "down")
_CONDITIONS = {
    "away": ("is away", "are away"),
    "down": ("is down", "are down"),
    "stale": ("is stale", "are stale"),
    "catching_up": ("catches up", "catch up"),
}


def _whole(slices: Sequence[SliceState], away: Collection[int]) -> tuple[Status, str | None]:
    """The worst status, how many slices are in it, and which."""
    status = max((one.status for one in slices), key=_BADNESS.index)
    if status == "live":
        return status, None
    foreign = next((one.reason for one in slices if str(one.reason).startswith(FOREIGN)), None)
    if foreign:
        return status, foreign
    bad = [one for one in slices if one.status == status]
    gone = [one for one in bad if one.slice in away]
    shown = gone or bad
    first = str(shown[0].reason)
    if len(shown) == len(slices) and {one.reason for one in shown} == {shown[0].reason}:
        return status, first  # it is not about slices
    condition = _CONDITIONS["away" if gone else status][len(shown) > 1]
    return status, f"{len(shown)} of {len(slices)} slices {condition} ({named_slices(shown)}): {first}"


def named_slices(slices: Sequence[SliceState]) -> str:
    """Name slices by their numbers, the first few of many."""
    numbers = ", ".join(str(one.slice) for one in slices[:SHOWN_SLICES])
    more = len(slices) - SHOWN_SLICES
    return f"{numbers} and {more} more" if more > 0 else numbers


def _together(
    judged: Sequence[Projection], nodes: Sequence[str], away: Collection[int], reports: Reports
) -> Projection:
    """The whole of which these are the slices."""
    slices = tuple(
        SliceState(index, node, one.status, one.reason, one.as_of, one.lag_ms, one.hot_sessions, one.term, one.batch)
        for index, (one, node) in enumerate(zip(judged, nodes, strict=True))
    )
    status, reason = _whole(slices, away)
    as_ofs, lags = [one.as_of for one in slices], [one.lag_ms for one in slices]
    answering = [one for one in judged if one.writable is not None]
    return Projection(
        status=status,
        reason=reason,
        as_of=None if None in as_ofs else min(filter(None, as_ofs)),
        lag_ms=None if None in lags else max(lag for lag in lags if lag is not None),
        hot_sessions=sum(one.hot_sessions or 0 for one in answering),
        database=next((one.database for one in answering if one.database), None),
        leader=reports.leader or None,
        standbys=reports.others,
        writable=all(one.writable for one in answering),
        slices=slices,
    )


def _status(
    position: Position | None,
    leader: Mapping[str, Any] | None,
    others: tuple[Mapping[str, Any], ...],
    bounds: Bounds,
) -> tuple[Status, str | None]:
    if leader is None:
        told = next((report["reason"] for report in others if report.get("reason")), None)
        return "down", str(told or _nobody_leads(others))
    told = leader.get("reason")
    if position is None:
        return "catching_up", str(told or "The view is empty: the projector has not begun it yet.")
    unreadable = _unreadable(position, bounds.database, bounds.version)
    if unreadable:
        return "down", unreadable
    if not position.live:
        return "catching_up", str(told or "The projector compares the hot sessions with Postgres.")
    if position.lag_us is None or position.lag_us > bounds.max_staleness_seconds * 1_000_000:
        return "stale", str(told or f"No heartbeat came through the pipe for {_seconds(position.lag_us)}.")
    return "live", None


def _nobody_leads(others: tuple[Mapping[str, Any], ...]) -> str:
    if not others:
        return "No projector leads: none has reported in the last five seconds."
    if any(report.get("role") == "standby" for report in others):
        return "No projector leads: one stands by, and takes over when the lead is free."
    return "No projector leads: one has started, and has not the lead yet."


def _standing(position: Position | None, leader: Mapping[str, Any], silent_us: int) -> tuple[Status, str | None]:
    """Tell what a live view's leader says of itself: that it waits, that it catches up, or nothing any more."""
    if leader.get("state") == "waiting" and leader.get("reason"):
        return "stale", str(leader["reason"])
    lag_us = (position and position.lag_us) or 0
    if leader.get("state") == "catching_up" and lag_us > SILENT_SECONDS * 1_000_000:
        return "catching_up", str(
            leader.get("reason") or "A projector has just taken the lead, and reads what it missed."
        )
    if min(silent_us, lag_us) > SILENT_SECONDS * 1_000_000:
        return "stale", f"The leading projector has not reported for {_seconds(silent_us)}, and as-of stands still."
    return "live", None


def _unreadable(position: Position, database: str, version: str) -> str | None:
    if database not in {"", position.database}:
        return (
            f"{FOREIGN}another database ({position.database}) than READSIDE_DATABASE_URL leads to ({database}): "
            "set another READSIDE_REDIS_PREFIX."
        )
    if position.version != version:
        differ = other_slices(position.version, version)
        if differ:
            return f"{FOREIGN}another READSIDE_SLICES: {differ}. All processes of a deployment need the same number."
        return f"{FOREIGN}version {position.version}, and this program reads version {version}."
    return None


def _seconds(lag_us: int | None) -> str:
    return "a while" if lag_us is None else f"{lag_us / 1_000_000:.1f} s"
