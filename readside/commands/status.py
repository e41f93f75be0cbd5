"""`readside status`: is the projection fine, and if not, why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from readmodel.errors import StoreRefused, StoreUnavailable
from readmodel.projection import Projection, Status, ask_projection, unreachable
from readmodel.view import ViewReader
from readside.commands.stores import open_redis
from readside.settings import Settings

EXIT_CODES: dict[Status, int] = {"live": 0, "catching_up": 1, "stale": 1, "down": 2}
_COLORS: dict[Status, str] = {"live": "green", "catching_up": "yellow", "stale": "yellow", "down": "red"}


async def status(settings: Settings, *, as_json: bool) -> int:
    """Print the projection's state; give the exit code that the contract names.

    Raises ViewUnavailable, AccessRefused or ForeignView where Redis cannot be asked: for who reads JSON that is printed
    all the same.
    """
    async with open_redis(settings) as (redis, keys):
        try:
            projection = await ask_projection(ViewReader(redis, keys), settings.max_staleness_seconds)
        except (StoreUnavailable, StoreRefused) as error:
            if as_json:
                _print_json(unreachable(error))
            raise
    if as_json:
        _print_json(projection)
    else:
        Console(highlight=False).print(table(projection))
    return EXIT_CODES[projection.status]


def _print_json(projection: Projection) -> None:
    typer.echo(orjson.dumps(projection.as_json(), option=orjson.OPT_INDENT_2).decode())


def table(projection: Projection) -> Table:
    """Lay the state out for people."""
    rows = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    rows.add_row("projection", Text(projection.status.replace("_", " "), style=_COLORS[projection.status]))
    if projection.reason:
        rows.add_row("why", Text(projection.reason))
    rows.add_row("lag", "unknown" if projection.lag_ms is None else f"{projection.lag_ms} ms")
    rows.add_row("as of", projection.as_of or "never")
    rows.add_row("hot sessions", "unknown" if projection.hot_sessions is None else str(projection.hot_sessions))
    leader = projection.leader
    rows.add_row("leader", Text(_name(leader) if leader else "none"))
    for report in projection.standbys:
        rows.add_row("standby", Text(_name(report)))
    if leader:
        rows.add_row("loading", str(leader.get("loading")))
        rows.add_row("set aside", str(leader.get("set_aside")))
        rows.add_row("notification queue", f"{100 * float(leader.get('notification_queue_usage') or 0):.1f} % full")
        rows.add_row("events applied", str(leader.get("events_applied")))
        if leader.get("last_error"):
            rows.add_row("last error", Text(str(leader["last_error"])))
    return rows


def _name(report: Mapping[str, Any]) -> str:
    return f"{report.get('host')} pid {report.get('pid')} ({report.get('state')}), since {report.get('started_at')}"
