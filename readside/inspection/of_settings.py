"""What `readside doctor` finds in the settings and limits of its own process."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from query_api.access.jwks import KeySet, UnreadableJwks, parse_jwks
from query_api.access.key_ring import UnreachableJwks, source_of
from readmodel.errors import ConfigurationError
from readside.descriptors import own_descriptors, places
from readside.inspection.findings import Finding, fine, problem, unknown, warning
from readside.secret_files import access_of_others, read_secret
from readside.settings import PREFIX, Settings, unknown_variables

CACHES_SHARE = 0.5
"""Of the machine's memory, or the container's: what a process keeps beside its caches needs room too."""
_CGROUP = Path("/sys/fs/cgroup/memory.max")
_MEMINFO = Path("/proc/meminfo")


async def of_settings(settings: Settings, wrong: list[str]) -> list[Finding]:
    """Look at each setting; `wrong` are the sentences about those that could not be read."""
    broken = [*wrong, *settings.broken_rules()]
    found = [problem("settings", sentence) for sentence in broken] or [fine("settings", "each can be read")]
    return [
        *found,
        *_of_unknown(unknown_variables()),
        *_of_parameters(settings.without_effect()),
        of_keys(settings),
        await of_tokens(settings),
        *of_secret_files(settings.secret_files()),
        of_open_files(settings),
        of_memory(settings, available_memory()),
    ]


def _of_unknown(names: Mapping[str, str | None]) -> Iterator[Finding]:
    for name, meant in names.items():
        do = "Take it away." if meant is None else f"Is {meant} meant?"
        yield warning("settings", f"{name} is no setting of readside, and does nothing.", do)


def _of_parameters(found: Mapping[str, tuple[str, ...]]) -> Iterator[Finding]:
    for name, parameters in found.items():
        told = f"{name} has {' and '.join(parameters)} in its query: our connections have names of their own."
        yield warning("settings", told, "Take it out.")


def of_keys(settings: Settings) -> Finding:
    """Count the API's keys by scope. No key is ever shown, nor a name that may be one."""
    if settings.auth != "keys":
        return warning(
            "API keys",
            "The API asks for no key: whoever reaches its port reads every session.",
            f"Set {PREFIX}API_KEYS, and take {PREFIX}AUTH away.",
        )
    try:
        keys, tokens = settings.given_keys(), settings.token_config()
    except ConfigurationError as error:
        return problem("API keys", str(error))
    if not keys:
        if tokens is None and settings.projector_port is not None:
            return fine("API keys", "none, as a projector needs none: the API would not start with these settings")
        if tokens is None:
            return problem("API keys", "None is set, and no tokens: the API refuses to start.", "Set one.")
        return fine("API keys", "none; tokens let callers in")
    scopes = [scopes for _, scopes in keys.values()]
    counts = (f"{sum(scope in held for held in scopes)} with {scope}" for scope in ("read", "ops"))
    return fine("API keys", f"{len(keys)}: {', '.join(counts)}")


async def of_tokens(settings: Settings) -> Finding:
    """Say who may sign tokens; a key set is read, or fetched, as the API would."""
    try:
        tokens = settings.token_config()
        if tokens is None:
            return fine("tokens", "nobody may sign any")
        keys = await _keys_of(tokens.jwks) if tokens.jwks else None
    except (ConfigurationError, UnreachableJwks, UnreadableJwks) as error:
        return problem("tokens", str(error))
    if keys is not None and not keys.keys:
        return problem(
            "tokens", f"{PREFIX}JWT_JWKS holds no key that can be used.", " ".join(keys.left_out[:1]) or None
        )
    if keys is not None and keys.left_out:
        return warning("tokens", f"Some keys of {PREFIX}JWT_JWKS cannot be used.", " ".join(keys.left_out))
    signers = [f"{_counted(len(keys.keys), 'key')} of {_without_query(tokens.jwks)}"] if keys is not None else []
    signers += [_counted(len(tokens.secrets), "shared secret")] if tokens.secrets else []
    issuer = f", issuer {settings.jwt_issuer}" if settings.jwt_issuer else ""
    return fine("tokens", f"signed by {' or '.join(signers)}; audience {settings.jwt_audience}{issuer}")


async def _keys_of(jwks: str) -> KeySet:
    return parse_jwks(await source_of(jwks).read())


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _without_query(place: str) -> str:
    return place.partition("?")[0].rpartition("@")[2]


def of_secret_files(files: Mapping[str, Path]) -> list[Finding]:
    """Look whether each file of a secret is there, and whether others may read it."""
    return [_of_file(name, path) for name, path in sorted(files.items())]


def _of_file(name: str, path: Path) -> Finding:
    try:
        read_secret(path, name)
    except ConfigurationError as error:
        return problem("secret files", str(error))
    others = access_of_others(path)
    if others:
        may = " and ".join(others)
        return warning("secret files", f"{name}: every user of this machine may {may} {path}.", f"chmod o= {path}")
    return fine("secret files", f"{name}: {path}")


def of_open_files(settings: Settings) -> Finding:
    """Hold the hard limit of open files, which the API raises its own to, against the connections it may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = sys.maxsize if hard == resource.RLIM_INFINITY else hard
    wanted = settings.max_connections
    own = own_descriptors(settings.fallback_concurrency, len(_standbys(settings)))
    left = places(wanted, limit, own)
    if left < wanted:
        return warning(
            "open files",
            f"The hard limit of {limit} leaves room for {left} connections of {PREFIX}MAX_CONNECTIONS={wanted}.",
            f"Raise it to {wanted + own} (ulimit -Hn; LimitNOFILE= in a systemd unit), or lower the setting.",
        )
    shown = "no hard limit" if limit == sys.maxsize else f"the hard limit of {limit}"
    return fine("open files", f"{shown} leaves room for {wanted} connections")


def _standbys(settings: Settings) -> tuple[str, ...]:
    try:
        return settings.checked_replica_urls()
    except ConfigurationError:
        return ()  # it is among what is broken


def of_memory(settings: Settings, available_bytes: int | None) -> Finding:
    """Hold what one API process may keep in its caches against the memory that there is."""
    wanted_mb = settings.response_cache_mb + settings.waiting_mb + settings.max_answer_mb
    if available_bytes is None:
        return unknown("memory", "this system does not say how much there is")
    available_mb = available_bytes / 1_000_000
    kept = f"each API process may keep {wanted_mb:g} MB of {available_mb:,.0f} MB"
    if wanted_mb > CACHES_SHARE * available_mb:
        return warning(
            "memory",
            f"{kept[0].upper()}{kept[1:]} in answers.",
            f"Lower {PREFIX}RESPONSE_CACHE_MB, {PREFIX}WAITING_MB or {PREFIX}MAX_ANSWER_MB, or give it more memory.",
        )
    return fine("memory", f"{kept} in answers")


def available_memory(cgroup: Path = _CGROUP, meminfo: Path = _MEMINFO) -> int | None:
    """The memory that this process may have, bytes: the container's bound, or the machine's; None: unknown."""
    try:
        bound = cgroup.read_text(encoding="utf-8").strip()
        if bound.isdecimal():
            return int(bound)
    except OSError:
        pass
    try:
        line = next(line for line in meminfo.read_text(encoding="utf-8").splitlines() if line.startswith("MemTotal:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration, ValueError, IndexError):
        return None
