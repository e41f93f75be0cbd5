"""What `readside doctor` finds at Redis: who answers there, what our user may do, and whose view it holds.

It changes nothing: each command is sent inside a transaction that is thrown away, which asks for the right alone.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis, SSLConnection
from redis.exceptions import NoPermissionError, ResponseError

from readmodel.errors import ConfigurationError, ServiceError
from readmodel.redis.client import refusal, target, translated
from readmodel.redis.servers import RedisServers, masters_of, open_servers
from readmodel.view.keys import Keys
from readmodel.view.projection import Projection, ask_projection
from readmodel.view.projection_advice import what_to_do
from readmodel.view.reader import ViewReader
from readmodel.view.rights import OLDEST_REDIS, Program, base, trials
from readmodel.view.whole import WholeView
from readside.inspection.clocks import judge_clock
from readside.inspection.findings import Finding, State, fine, problem, unknown, warning
from readside.inspection.transport import judge_redis_tls
from readside.settings import PREFIX, Settings

NAME = "readside-cli"
STORE_SECONDS = 3.0
OF_REDIS = ("Redis TLS", "Redis rights", "Redis memory", "Redis clock", "view")
_COVERAGE = "cluster-require-full-coverage"
_GRAVITY: tuple[State, ...] = ("ok", "unknown", "warning", "problem")
TOO_MUCH = (("FLUSHALL",), ("CONFIG", "SET", "maxmemory", "0"), ("KEYS", "*"))
"""What nobody of ours needs; who may do it may do everything, as a rule."""


@dataclass
class RedisReport:
    """What was found, and the projection (None: it could not be asked)."""

    findings: list[Finding] = field(default_factory=list)
    projection: Projection | None = None


async def of_redis(settings: Settings, database: str = "") -> RedisReport:
    """Look at Redis; `database` is the identity of our own, "" where it is unknown."""
    report = RedisReport()
    try:
        url = settings.require_redis_url()
        servers = open_servers(url, name=NAME, timeout_seconds=STORE_SECONDS)
    except ConfigurationError as error:
        return _without_redis(report, unknown("Redis", str(error).rstrip(".")), "READSIDE_REDIS_URL cannot be used")
    try:
        async with asyncio.timeout(5 * STORE_SECONDS):
            masters = await masters_of(servers)
            report.findings.append(await _who_answer(masters, url))
            if _kind(url) == "cluster":
                report.findings.append(await _within("Redis cluster", _coverage(masters)))
            await _look(settings, servers, masters, report, url, database)
    except TimeoutError:
        away = problem("Redis", f"Redis at {servers.name} does not answer in time.")
        return _without_redis(report, away, "Redis cannot be asked")
    except ServiceError as error:
        return _without_redis(report, problem("Redis", str(error)), "Redis cannot be asked")
    finally:
        await servers.aclose()
    return report


def _without_redis(report: RedisReport, why: Finding, rest: str) -> RedisReport:
    told = {finding.check for finding in report.findings}
    report.findings += [why] if "Redis" not in told else []
    report.findings += [unknown(check, rest) for check in OF_REDIS if check not in told]
    return report


async def _look(
    settings: Settings, servers: RedisServers, masters: Sequence[Redis], report: RedisReport, url: str, database: str
) -> None:
    whole = WholeView(servers, settings.redis_prefix, settings.slices)
    keys, first = whole.slices.keys[-1], masters[0]  # the first one's tag is that of a list for a single slice too
    report.findings += [
        judge_redis_tls("Redis TLS", url, is_encrypted=_is_tls(first), is_verified=_is_verified(first)),
        await _within("Redis rights", _rights(masters, keys)),
        worst([await _within("Redis memory", _memory(redis)) for redis in masters]),
        worst([await _within("Redis clock", _clock(ViewReader(redis, keys))) for redis in masters]),
    ]
    try:
        report.projection = await ask_projection(whole, settings.max_staleness_seconds, database, with_apis=False)
        report.findings.append(judge_view(report.projection))
    except ServiceError as error:
        report.findings.append(problem("view", str(error)))


async def _within(check: str, looking: Awaitable[Finding]) -> Finding:
    """What was found, or why it could not be looked at."""
    try:
        return await looking
    except ServiceError as error:
        return unknown(check, str(error).rstrip("."))


def worst(findings: Sequence[Finding]) -> Finding:
    """The worst of what was found at each master: there what is to be done is read off."""
    return max(findings, key=lambda finding: _GRAVITY.index(finding.state))


async def _who_answer(masters: Sequence[Redis], url: str) -> Finding:
    """Say who the masters are; more than one are a cluster's, and each should have a replica."""
    kind = _kind(url)
    found = worst([await _who_answers(redis, kind) for redis in masters])
    if found.state != "ok" or not kind:
        return found
    alone = [target(redis) for redis in masters if await _replicas(redis) == 0]
    if kind == "cluster":
        (told,) = await _send(masters[0], [("CLUSTER", "INFO")])
        if b"cluster_state:ok" not in (told if isinstance(told, bytes) else b""):
            return problem("Redis", f"The cluster of {len(masters)} masters is down: slots have no master.")
        found = fine("Redis", f"a cluster of {len(masters)} masters; {found.text}")
    if alone:
        return warning(
            "Redis",
            f"{', '.join(alone)} has no replica that follows: what it holds is away for as long as it is.",
            "Give each master a replica.",
        )
    return found


def _kind(url: str) -> str:
    """What a URL leads to: `cluster`, `sentinel`, or "" for one server."""
    return url.partition("://")[0].partition("+")[2]


async def _coverage(masters: Sequence[Redis]) -> Finding:
    """Ask each master whether it serves its slots while another one is away; each has a setting of its own."""
    told = {}
    for redis in masters:
        (reply,) = await _send(redis, [("CONFIG", "GET", _COVERAGE)])
        pair = reply.values() if isinstance(reply, dict) else () if isinstance(reply, ResponseError) else reply[1:]
        told[target(redis)] = next(map(_text, pair), None)
    return judge_coverage(told)


def judge_coverage(told: Mapping[str, str | None]) -> Finding:
    """Judge what each master does while another one is away; None: our user may not ask, which is as it should be.

    By default all refuse to serve, so every slice is away until a replica has taken the place of the one.
    """
    stopping = [place for place, value in told.items() if value == "yes"]
    if stopping:
        return warning(
            "Redis cluster",
            f"{', '.join(stopping)} serves nothing while another master is away: {_COVERAGE} is yes.",
            f"Set {_COVERAGE} no on every node.",
        )
    if None in told.values():
        return fine("Redis cluster", f"our user may not see {_COVERAGE}, which should be no")
    return fine("Redis cluster", "the masters that are there go on while another one is away")


async def _replicas(redis: Redis) -> int | None:
    """Count who follows a master; None where our user may not ask."""
    (reply,) = await _send(redis, [("INFO", "replication")])
    found = re.search(r"connected_slaves:(\d+)", "" if isinstance(reply, ResponseError) else _text(reply))
    return int(found[1]) if found else None


async def _who_answers(redis: Redis, kind: str) -> Finding:
    """Say who answers, by the one command that no access list can refuse."""
    (reply,) = await _send(redis, [("HELLO",)])
    if isinstance(reply, ResponseError):
        raise refusal(redis, reply)
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    told = {_text(name): value for name, value in pairs}
    return judge_server(
        target(redis),
        _text(told["server"]),
        _text(told["version"]),
        _text(told["mode"]),
        _text(told.get("role", "")),
        kind,
    )


def judge_server(place: str, server: str, version: str, mode: str, role: str, kind: str = "") -> Finding:
    """Judge who answers to a URL of this kind: of one server (""), a cluster, or sentinels."""
    shown, mend = f"{server.capitalize()} {version} at {place}", f"Have {PREFIX}REDIS_URL lead to"
    if not version.split(".", maxsplit=1)[0].isdecimal() or int(version.split(".", maxsplit=1)[0]) < OLDEST_REDIS:
        return problem("Redis", f"{shown}: readside needs {OLDEST_REDIS} or newer.")
    if mode != ("cluster" if kind == "cluster" else "standalone"):
        asked = "a node of a cluster" if kind == "cluster" else "a server by itself"
        form = {"cluster": "redis+cluster://", "sentinel": "redis+sentinel://", "standalone": "redis://"}.get(mode)
        advice = f"Begin {PREFIX}REDIS_URL with {form}." if form else f"{mend} one."
        is_what = "a server by itself" if mode == "standalone" else f"a {mode}'s"
        return problem("Redis", f"{shown} is {is_what}, not {asked}.", advice)
    if role != "master":
        return problem("Redis", f"{shown} is a {role}: it takes no batches.", f"{mend} its primary.")
    return fine("Redis", shown)


async def _rights(masters: Sequence[Redis], keys: Keys) -> Finding:
    """Try the rights at each master, since each has a list of its own; what one refuses is lacking."""
    lacking: dict[Program, list[str]] = {"projector": [], "api": []}
    may_all = True
    for redis in masters:
        refused = await _refused(redis, keys)
        if refused is None:
            return unknown("Redis rights", "our user may not even MULTI, by which rights are tried")
        may_all = may_all and not refused.pop("too much")
        for program, names in lacking.items():
            names += [name for name in refused[program] if name not in names]
    return judge_rights(base(keys.prefix, keys.slices), lacking, may_all)


async def _refused(redis: Redis, keys: Keys) -> dict[str, list[str]] | None:
    """Queue one use of each right in a transaction, and throw it away: Redis refuses at once what may not be done.

    Gives the commands, by program; those that nobody needs as "too much". None where not even that may be tried.
    """
    wanted: dict[str, dict[str, tuple[str, ...]]] = {
        "projector": trials("projector", keys),
        "api": trials("api", keys),
        "too much": {" ".join(command): command for command in TOO_MUCH},
    }
    commands = [command for trial in wanted.values() for command in trial.values()]
    begun, *replies, _ = await _send(redis, [("MULTI",), *commands, ("DISCARD",)])
    if isinstance(begun, NoPermissionError):
        return None
    if isinstance(begun, ResponseError):
        raise refusal(redis, begun)
    names = [(program, name) for program, trial in wanted.items() for name in trial]
    no = [entry for entry, reply in zip(names, replies, strict=True) if isinstance(reply, NoPermissionError)]
    return {program: [name for of, name in no if of == program] for program in wanted}


def judge_rights(ours: str, lacking: Mapping[Program, Sequence[str]], may_all: bool) -> Finding:
    """Judge what our user may do; `lacking` are the commands, by program, that it may not.

    `ours` is what all our keys begin with.
    """
    suffices = "specs/operate/redis.md, section Users of Redis, has the access lists that suffice."
    if may_all:
        return warning("Redis rights", "Our user may do everything, to others' keys and the server too.", suffices)
    if not lacking["projector"]:
        return fine("Redis rights", f"all that projector, API and commands need under {ours}*")
    if not lacking["api"]:
        return fine("Redis rights", f"all that the API needs under {ours}*, and not what the projector needs")
    least = min(lacking.values(), key=len)
    return problem("Redis rights", f"Our user may not use {', '.join(least)} as it must.", suffices)


async def _memory(redis: Redis) -> Finding:
    (reply,) = await _send(redis, [("INFO", "memory")])
    if isinstance(reply, NoPermissionError):
        return unknown("Redis memory", "our user may not use INFO")
    if isinstance(reply, ResponseError):
        raise refusal(redis, reply)
    told = dict(line.split(":", 1) for line in _text(reply).splitlines() if ":" in line)
    if "used_memory" not in told:  # a sentinel's
        return unknown("Redis memory", "it does not tell of its memory")
    return judge_memory(int(told["used_memory"]), int(told["maxmemory"]), told["maxmemory_policy"])


def judge_memory(used: int, bound: int, policy: str) -> Finding:
    """Judge what Redis does when it is full, bytes."""
    used_mb, bound_mb = used / 1_000_000, bound / 1_000_000
    if not bound:
        return warning(
            "Redis memory",
            f"{used_mb:.0f} MB, and no bound: a Redis that grows too large is ended by its machine.",
            "Set maxmemory, and maxmemory-policy allkeys-lru.",
        )
    told = f"{used_mb:.0f} MB of {bound_mb:.0f} MB, {policy}"
    if policy == "noeviction":
        return warning(
            "Redis memory",
            f"{told}: when it is full, sessions with new events go cold.",
            "Set maxmemory-policy allkeys-lru: then those that nobody asks for make room.",
        )
    return fine("Redis memory", told)


async def _clock(view: ViewReader) -> Finding:
    before = time.time()
    theirs = await view.now_us() / 1_000_000
    return judge_clock("Redis clock", theirs, before, time.time())


def judge_view(projection: Projection) -> Finding:
    """Judge whose view it is, and whether it follows, as `readside status` does."""
    if projection.status == "live":
        return fine("view", f"live, {projection.lag_ms} ms behind, {projection.hot_sessions} hot sessions")
    reason = projection.reason or projection.status
    if projection.status == "down":
        return problem("view", reason, what_to_do(projection))
    return warning("view", f"{projection.status.replace('_', ' ').capitalize()}: {reason}", what_to_do(projection))


async def _send(redis: Redis, commands: Sequence[tuple[str, ...]]) -> list[Any]:
    """Send these on one connection; gives what came back, a ResponseError in the place of a refusal."""
    pool: Any = redis.connection_pool
    replies: list[Any] = []
    with translated(redis):
        connection = await pool.get_connection()
        try:
            for command in commands:
                await connection.send_command(*command)
                try:
                    replies.append(await connection.read_response())
                except ResponseError as error:
                    replies.append(error)
        finally:
            await connection.disconnect(nowait=True)  # whatever was queued is forgotten with it
            await pool.release(connection)
    return replies


def _is_tls(redis: Redis) -> bool:
    return issubclass(redis.connection_pool.connection_class, SSLConnection)


def _is_verified(redis: Redis) -> bool:
    """Whether the server must show a certificate of a known issuer, for its own name."""
    if not _is_tls(redis):
        return False
    options: dict[str, Any] = redis.connection_pool.connection_kwargs
    required = options.get("ssl_cert_reqs", "required") in {"required", ssl.CERT_REQUIRED}
    return required and options.get("ssl_check_hostname", True) not in {False, "False", "false", "0"}


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
