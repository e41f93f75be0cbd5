"""What `readside doctor` finds at Redis: who answers there, what our user may do, and whose view it holds.

It changes nothing: each command is sent inside a transaction that is thrown away, which asks for the right alone.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis, SSLConnection
from redis.exceptions import NoPermissionError, ResponseError

from readmodel.errors import ConfigurationError, ServiceError
from readmodel.keys import Keys
from readmodel.projection import Projection, ask_projection
from readmodel.redis_client import connect, refusal, target, translated
from readmodel.redis_rights import OLDEST_REDIS, Program, base, trials
from readmodel.redis_servers import OneServer
from readmodel.view import ViewReader
from readmodel.whole_view import WholeView
from readside.commands.plain_words import what_to_do
from readside.inspection.clocks import judge_clock
from readside.inspection.findings import Finding, fine, problem, unknown, warning
from readside.inspection.transport import judge_redis_tls
from readside.settings import PREFIX, Settings

NAME = "readside-cli"
STORE_SECONDS = 3.0
OF_REDIS = ("Redis TLS", "Redis rights", "Redis memory", "Redis clock", "view")
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
        redis = connect(url, name=NAME, timeout_seconds=STORE_SECONDS)
    except ConfigurationError as error:
        return _without_redis(report, unknown("Redis", str(error).rstrip(".")), "READSIDE_REDIS_URL cannot be used")
    try:
        async with asyncio.timeout(5 * STORE_SECONDS):
            report.findings.append(await _who_answers(redis))
            await _look(settings, redis, url, report, database)
    except TimeoutError:
        away = problem("Redis", f"Redis at {target(redis)} does not answer in time.")
        return _without_redis(report, away, "Redis cannot be asked")
    except ServiceError as error:
        return _without_redis(report, problem("Redis", str(error)), "Redis cannot be asked")
    finally:
        await redis.aclose()
    return report


def _without_redis(report: RedisReport, why: Finding, rest: str) -> RedisReport:
    told = {finding.check for finding in report.findings}
    report.findings += [why] if "Redis" not in told else []
    report.findings += [unknown(check, rest) for check in OF_REDIS if check not in told]
    return report


async def _look(settings: Settings, redis: Redis, url: str, report: RedisReport, database: str) -> None:
    whole = WholeView(OneServer(redis), settings.redis_prefix, settings.slices)
    keys = whole.slices.keys[0]
    report.findings += [
        judge_redis_tls("Redis TLS", url, is_encrypted=_is_tls(redis), is_verified=_is_verified(redis)),
        await _within("Redis rights", _rights(redis, keys)),
        await _within("Redis memory", _memory(redis)),
        await _within("Redis clock", _clock(ViewReader(redis, keys))),
    ]
    try:
        report.projection = await ask_projection(whole, settings.max_staleness_seconds, database, with_apis=False)
        report.findings.append(judge_view(report.projection))
    except ServiceError as error:
        report.findings.append(problem("view", str(error)))


async def _within(check: str, looking: Awaitable[Finding]) -> Finding:
    """Give what was found, or why it could not be looked at."""
    try:
        return await looking
    except ServiceError as error:
        return unknown(check, str(error).rstrip("."))


async def _who_answers(redis: Redis) -> Finding:
    """Say who answers, by the one command that no access list can refuse."""
    (reply,) = await _send(redis, [("HELLO",)])
    if isinstance(reply, ResponseError):
        raise refusal(redis, reply)
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    told = {_text(name): value for name, value in pairs}
    return judge_server(
        target(redis), _text(told["server"]), _text(told["version"]), _text(told["mode"]), _text(told["role"])
    )


def judge_server(place: str, server: str, version: str, mode: str, role: str) -> Finding:
    """Judge who answers."""
    shown, mend = f"{server.capitalize()} {version} at {place}", f"Have {PREFIX}REDIS_URL lead to"
    if not version.split(".", maxsplit=1)[0].isdecimal() or int(version.split(".", maxsplit=1)[0]) < OLDEST_REDIS:
        return problem("Redis", f"{shown}: readside needs {OLDEST_REDIS} or newer.")
    if mode != "standalone":
        return problem("Redis", f"{shown} is a {mode}'s, not a server by itself.", f"{mend} one.")
    if role != "master":
        return problem("Redis", f"{shown} is a {role}: it takes no batches.", f"{mend} its primary.")
    return fine("Redis", shown)


async def _rights(redis: Redis, keys: Keys) -> Finding:
    """Queue one use of each right in a transaction, and throw it away: Redis refuses at once what may not be done."""
    wanted: dict[Program, dict[str, tuple[str, ...]]] = {each: trials(each, keys) for each in ("projector", "api")}
    commands = [command for trial in wanted.values() for command in trial.values()]
    begun, *replies, _ = await _send(redis, [("MULTI",), *commands, *TOO_MUCH, ("DISCARD",)])
    if isinstance(begun, ResponseError):
        if isinstance(begun, NoPermissionError):
            return unknown("Redis rights", "our user may not even MULTI, by which rights are tried")
        raise refusal(redis, begun)
    refused = [isinstance(reply, NoPermissionError) for reply in replies]
    names = [(program, name) for program, trial in wanted.items() for name in trial]
    lacking: dict[Program, list[str]] = {"projector": [], "api": []}
    for (program, name), no in zip(names, refused, strict=False):
        lacking[program] += [name] if no else []
    return judge_rights(keys.prefix, lacking, not any(refused[len(names) :]))


def judge_rights(prefix: str, lacking: Mapping[Program, Sequence[str]], may_all: bool) -> Finding:
    """Judge what our user may do; `lacking` are the commands, by program, that it may not."""
    suffices = "README, section Users of Redis, has the access lists that suffice."
    if may_all:
        return warning("Redis rights", "Our user may do everything, to others' keys and the server too.", suffices)
    if not lacking["projector"]:
        return fine("Redis rights", f"all that projector, API and commands need under {base(prefix)}*")
    if not lacking["api"]:
        return fine("Redis rights", f"all that the API needs under {base(prefix)}*, and not what the projector needs")
    least = min(lacking.values(), key=len)
    return problem("Redis rights", f"Our user may not use {', '.join(least)} as it must.", suffices)


async def _memory(redis: Redis) -> Finding:
    (reply,) = await _send(redis, [("INFO", "memory")])
    if isinstance(reply, NoPermissionError):
        return unknown("Redis memory", "our user may not use INFO")
    if isinstance(reply, ResponseError):
        raise refusal(redis, reply)
    told = dict(line.split(":", 1) for line in _text(reply).splitlines() if ":" in line)
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
