"""`readside doctor`: is all as it should be, and if not, what to do; it changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import orjson
from rich.table import Table
from rich.text import Text

from projector.tail.connection import lock_key
from projector.tail.lead_holders import LeadHolder, stranger
from readmodel.errors import ConfigurationError, StoreRefused, StoreUnavailable
from readmodel.redis.servers import open_servers
from readmodel.view.projection import Projection
from readside.commands.terminal import drawing_console, plain, tell
from readside.inspection.findings import Finding, State, exit_code, fine, problem, unknown
from readside.inspection.of_postgres import NAME, of_postgres
from readside.inspection.of_redis import STORE_SECONDS, of_redis
from readside.inspection.of_replicas import of_replicas
from readside.inspection.of_settings import of_settings
from readside.inspection.of_slices import judge_slices
from readside.settings import Settings

_STYLES: dict[State, str] = {"ok": "green", "warning": "yellow", "problem": "bold red", "unknown": "magenta"}
_CHECK_WIDTH, _STATE_WIDTH = 16, 9


async def doctor(settings: Settings, wrong: list[str], *, as_json: bool) -> int:
    """Look at everything, print a line for each thing, and give the exit code; `wrong` are settings not to be read."""
    findings = await of_settings(settings, wrong)
    postgres = await of_postgres(settings, await _lead_key(settings))
    replicas = await of_replicas(settings, NAME)
    redis = await of_redis(settings, postgres.database)
    lead = judge_lead(postgres.holders, redis.projection)
    findings += [*postgres.findings, *replicas, *redis.findings, *judge_slices(redis.projection), lead]
    if as_json:
        told = [asdict(finding) | {"detail": plain(finding.detail)} for finding in findings]
        tell(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
    else:
        _print(findings)
    return exit_code(findings)


def judge_lead(holders: Sequence[LeadHolder] | None, projection: Projection | None) -> Finding:
    """Judge who leads: what holds the lock in Postgres, and who reports to Redis that it does."""
    if holders is None or projection is None:
        return unknown("lead", "it takes both stores to tell who leads")
    leader = projection.leader
    sentence = stranger(holders, reported=leader is not None)
    if sentence:
        return problem("lead", sentence)
    if leader is None:
        return problem("lead", "No projector leads.", "Start `readside projector`, or see its log.")
    standbys = sum(report.get("role") == "standby" for report in projection.standbys)
    return fine("lead", f"{leader.get('host')} pid {leader.get('pid')} leads; standing by: {standbys}")


async def _lead_key(settings: Settings) -> int | None:
    """The key of the lead's lock, which tells deployments apart by their Redis; a single one is not asked."""
    try:
        servers = open_servers(settings.require_redis_url(), name=NAME, timeout_seconds=STORE_SECONDS)
    except ConfigurationError:
        return None
    try:
        return lock_key(settings.redis_prefix, await servers.identity())
    except (StoreUnavailable, StoreRefused):
        return None
    finally:
        await servers.aclose()


def _print(findings: Sequence[Finding]) -> None:
    """Print a table in colours on a terminal; elsewhere plain lines, which are never wrapped."""
    console = drawing_console()
    if console is None:
        for each in findings:
            tell(f"{each.check:<{_CHECK_WIDTH}}{each.state:<{_STATE_WIDTH}}{plain(each.text)}")
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for each in findings:
        table.add_row(each.check, Text(each.state, style=_STYLES[each.state]), Text(plain(each.text)))
    console.print(table)
