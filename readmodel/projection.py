"""How far behind the view is, and why: one answer for the API and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import orjson

from readmodel.errors import StoreRefused, StoreUnavailable
from readmodel.event import ENCODING_VERSION
from readmodel.freshness import rfc3339
from readmodel.keys import other_slices
from readmodel.view import Position, ViewReader

FRESH_REPORT_SECONDS = 5.0
"""An older report is a dead projector's: they report every second."""

FRESH_API_SECONDS = 10.0
"""An older report is a dead API process': they report every three seconds."""

SILENT_SECONDS = 2.0
"""A leader that has not reported for so long, while as-of stood still, may be gone: status says so at once."""

FOREIGN = "The view is of "
"""So begins the reason where a view is another database's, or another version's: nobody reads it."""

Status = Literal["live", "catching_up", "stale", "down"]


@dataclass(frozen=True, slots=True)
class Projection:
    """Lag and state. `as_of` is RFC 3339, `lag_ms` how old it is; both None where no beat was ever applied.

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

    def as_json(self) -> dict[str, Any]:
        """Give the fields for JSON."""
        return asdict(self)


async def read_projection(
    view: ViewReader, max_staleness_seconds: float, database: str = "", *, with_apis: bool = True
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
    view: ViewReader, max_staleness_seconds: float, database: str = "", *, with_apis: bool = True
) -> Projection:
    """Ask the same where a Redis that is away is an error: raises ViewUnavailable, AccessRefused or ForeignView."""
    position = await view.position()
    hot = await view.hot_count()
    reports = await view.projectors()
    now_us = await view.now_us()
    refusal = await view.write_refusal()
    judged = judge(
        position,
        hot,
        fresh_reports(reports, now_us),
        max_staleness_seconds,
        database,
        refusal,
        now_us,
        view.keys.version,
    )
    return replace(judged, apis=await _fresh_apis(view, now_us)) if with_apis else judged


async def _fresh_apis(view: ViewReader, now_us: int) -> tuple[Mapping[str, Any], ...]:
    """Read what living API processes say; nothing where their key holds something else: the projection is as it is."""
    try:
        return tuple(fresh_reports(await view.apis(), now_us, FRESH_API_SECONDS))
    except StoreRefused:
        return ()


def fresh_reports(
    reports: Mapping[str, bytes], now_us: int, within_seconds: float = FRESH_REPORT_SECONDS
) -> list[dict[str, Any]]:
    """Parse the reports of living processes; `now_us` is Redis' clock."""
    fresh = (_unless_older(raw, now_us, within_seconds) for raw in reports.values())
    return sorted(filter(None, fresh), key=lambda report: str(report.get("started_at")))


def old_reports(reports: Mapping[str, bytes], now_us: int, within_seconds: float) -> list[str]:
    """Name the processes whose reports are older, or cannot be read."""
    return [name for name, raw in reports.items() if _unless_older(raw, now_us, within_seconds) is None]


def _unless_older(raw: bytes, now_us: int, within_seconds: float) -> dict[str, Any] | None:
    try:
        report: dict[str, Any] = orjson.loads(raw)
        return report if now_us - report["reported_at_us"] <= within_seconds * 1_000_000 else None
    except (ValueError, KeyError, TypeError):
        return None  # a report of another version is nobody's outage


def judge(
    position: Position | None,
    hot_sessions: int,
    reports: list[dict[str, Any]],
    max_staleness_seconds: float,
    database: str = "",
    refusal: str | None = None,
    now_us: int | None = None,
    version: str = ENCODING_VERSION,
) -> Projection:
    """Decide the status from what Redis holds; `refusal` is its own sentence where it takes no writes."""
    leaders = [report for report in reports if report.get("role") == "leader"]
    leader = leaders[-1] if leaders else None
    others = tuple(report for report in reports if report is not leader)
    status, reason = _status(position, leader, others, max_staleness_seconds, database, version)
    if refusal:
        status, reason = "down", refusal  # no projector can write anything, its report included
    elif status == "live" and leader:
        status, reason = _standing(position, leader, now_us)
    known = position or Position("", 0, live=False, as_of_us=None, lag_us=None, version="", database="")
    return Projection(
        status=status,
        reason=reason,
        as_of=None if known.as_of_us is None else rfc3339(known.as_of_us),
        lag_ms=None if known.lag_us is None else known.lag_us // 1000,
        hot_sessions=hot_sessions,
        term=known.term or None,
        batch=known.n if position else None,
        database=known.database or None,
        leader=leader,
        standbys=others,
        writable=refusal is None,
    )


def _status(
    position: Position | None,
    leader: Mapping[str, Any] | None,
    others: tuple[Mapping[str, Any], ...],
    max_staleness_seconds: float,
    database: str,
    version: str,
) -> tuple[Status, str | None]:
    if leader is None:
        told = next((report["reason"] for report in others if report.get("reason")), None)
        return "down", str(told or _nobody_leads(others))
    told = leader.get("reason")
    if position is None:
        return "catching_up", str(told or "The view is empty: the projector has not begun it yet.")
    unreadable = _unreadable(position, database, version)
    if unreadable:
        return "down", unreadable
    if not position.live:
        return "catching_up", str(told or "The projector compares the hot sessions with Postgres.")
    if position.lag_us is None or position.lag_us > max_staleness_seconds * 1_000_000:
        return "stale", str(told or f"No heartbeat came through the pipe for {_seconds(position.lag_us)}.")
    return "live", None


def _nobody_leads(others: tuple[Mapping[str, Any], ...]) -> str:
    if not others:
        return "No projector leads: none has reported in the last five seconds."
    if any(report.get("role") == "standby" for report in others):
        return "No projector leads: one stands by, and takes over when the lead is free."
    return "No projector leads: one has started, and has not the lead yet."


def _standing(position: Position | None, leader: Mapping[str, Any], now_us: int | None) -> tuple[Status, str | None]:
    """Tell what a live view's leader says of itself: that it waits, that it catches up, or nothing any more."""
    if leader.get("state") == "waiting" and leader.get("reason"):
        return "stale", str(leader["reason"])
    lag_us = (position and position.lag_us) or 0
    if leader.get("state") == "catching_up" and lag_us > SILENT_SECONDS * 1_000_000:
        return "catching_up", str(
            leader.get("reason") or "A projector has just taken the lead, and reads what it missed."
        )
    silent_us = 0 if now_us is None else now_us - int(leader.get("reported_at_us", now_us))
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
