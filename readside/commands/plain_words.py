"""A projection's state as a terminal's table: whether it is fine, why not, what users see, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from readmodel.view.projection import Projection, SliceState, named_slices, slices_of
from readmodel.view.projection_advice import QUEUE_WORRIES, near_bound, queue_fullness, stands_by, users_see, what_to_do


class TableRow(NamedTuple):
    """A line of the screen; `style` is Rich's, for a terminal."""

    label: str
    text: str
    style: str = ""


_STYLES = {"live": "bold green", "catching_up": "bold yellow", "stale": "bold yellow", "down": "bold red"}


def rows(projection: Projection, max_staleness_seconds: float) -> list[TableRow]:
    """Lay the state out: what matters most comes first."""
    status = projection.status
    shown = [TableRow("projection", status.replace("_", " "), _STYLES[status])]
    if projection.reason:
        shown.append(TableRow("why", projection.reason, _STYLES[status].removeprefix("bold ")))
    shown += [
        TableRow("users see", users_see(projection, max_staleness_seconds)),
        TableRow("what to do", what_to_do(projection)),
        TableRow("lag", "unknown" if projection.lag_ms is None else f"{projection.lag_ms} ms"),
        TableRow("as of", projection.as_of or "never"),
        TableRow("hot sessions", "unknown" if projection.hot_sessions is None else str(projection.hot_sessions)),
    ]
    shown += _slices(projection)
    if projection.leader:
        shown += _of_leader(projection.leader)
    shown.append(TableRow("leader", _name(projection.leader) if projection.leader else "none"))
    shown += [
        TableRow("standby" if stands_by(report) else "projector", _name(report)) for report in projection.standbys
    ]
    shown += [
        TableRow("API", _connections(report), "yellow" if near_bound(report) else "") for report in projection.apis
    ]
    return [*shown, *_errors(projection)]


SHOWN_SLICES = 40
"""A screen has a line for each of so many slices that are not live."""


def _slices(projection: Projection) -> list[TableRow]:
    """Count the slices, and give a line to each that is not live."""
    slices = projection.slices
    if not slices:
        return []
    unwell = [one for one in slices if one.status != "live"]
    nodes = len({one.node for one in slices})
    told = f"{len(slices)} on {nodes} {'node' if nodes == 1 else 'nodes'}"
    shown = [TableRow("slices", f"{told}, {len(unwell) or 'none'} not live" if unwell else f"{told}, all live")]
    shown += [TableRow(f"slice {one.slice}", _slice(one), _STYLES[one.status]) for one in unwell[:SHOWN_SLICES]]
    if len(unwell) > SHOWN_SLICES:
        shown.append(TableRow("more slices", named_slices(unwell[SHOWN_SLICES:])))
    return shown


def _slice(one: SliceState) -> str:
    lag = "unknown" if one.lag_ms is None else f"{one.lag_ms} ms"
    return f"{one.status.replace('_', ' ')} on {one.node}, lag {lag}: {one.reason}"


def _of_leader(leader: Mapping[str, Any]) -> list[TableRow]:
    queue = queue_fullness(leader)
    return [
        TableRow("loading", str(leader.get("loading", "unknown"))),
        TableRow("set aside", str(leader.get("set_aside", "unknown")), "yellow" if leader.get("set_aside") else ""),
        TableRow("drift", _drift(leader), "yellow" if leader.get("drift") else ""),
        TableRow("notification queue", f"{100 * queue:.1f} % full", "red" if queue > QUEUE_WORRIES else ""),
        TableRow("letters", _letters(leader), _colour_of_letters(leader)),
        TableRow("tail", _tail(leader)),
        TableRow("events applied", str(leader.get("events_applied", "unknown"))),
    ]


def _tail(leader: Mapping[str, Any]) -> str:
    took = leader.get("round_trip_ms")
    beat = "no heartbeat came back yet" if took is None else f"the last heartbeat took {float(took):.1f} ms"
    state = str(leader.get("state")).replace("_", " ")
    return f"{state}, {beat}; terms begun {leader.get('terms', '?')}, connections made {leader.get('connections', '?')}"


def _letters(leader: Mapping[str, Any]) -> str:
    """Tell how large the tables of letters are, and who looks."""
    megabytes = f"{float(leader.get('letters_bytes') or 0) / 1_000_000:.1f} MB"
    if not leader.get("letters_open", True):
        return f"{megabytes}, and none is written: the view is compared instead"
    if leader.get("letters_disk_full"):
        return f"{megabytes}, not emptied: {leader['letters_disk_full']}"
    return f"{megabytes}; {'writers ring' if leader.get('ringing') else 'the projector looks by itself'}"


def _colour_of_letters(leader: Mapping[str, Any]) -> str:
    return "red" if leader.get("letters_disk_full") or not leader.get("letters_open", True) else ""


def _drift(leader: Mapping[str, Any]) -> str:
    if not leader.get("drift"):
        return "none"
    return f"{leader['drift']} of {leader.get('compared', '?')} comparisons found a hot session that differed"


def _errors(projection: Projection) -> list[TableRow]:
    """The last error of each projector."""
    told = []
    for report in (projection.leader, *projection.standbys):
        errors = (report or {}).get("errors") or []
        if errors:
            told.append(TableRow("last error", f"{errors[0].get('at')}: {errors[0].get('text')}"))
        elif report and report.get("last_error"):
            told.append(TableRow("last error", str(report["last_error"])))
    return told


def _name(report: Mapping[str, Any]) -> str:
    state = str(report.get("state")).replace("_", " ")
    if report.get("role") == "starting":
        state = "cannot lead yet" if report.get("reason") else "starting"
    count = slices_of(report)
    slices = "" if count == 1 else f", {count} slices"
    return f"{report.get('host')} pid {report.get('pid')} ({state}{slices}), since {report.get('started_at')}"


def _connections(report: Mapping[str, Any]) -> str:
    """Tell how many connections an API process has, and may have."""
    taken = f"{report.get('connections', '?')} of {report.get('connections_bound', '?')} connections"
    near = ", near the bound" if near_bound(report) else ""
    return f"{report.get('host')} pid {report.get('pid')}: {taken}{near}, since {report.get('started_at')}"
