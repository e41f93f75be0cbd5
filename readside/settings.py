"""The one place that reads the environment: parses every READSIDE_ variable and builds each part's config."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from projector.config import SCHEMA_NAME, ProjectorConfig, is_schema_name
from query_api.config import ApiConfig
from query_api.doorway.bounds import SocketBounds
from readmodel.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

SCOPES = frozenset({"read", "ops"})
PREFIX = "READSIDE_"
_PASSWORD = re.compile(r"[a-z]+://[^:@/]*:(.*)@", re.DOTALL)
_HOST = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::(\d{0,6}))?", re.ASCII)


Seconds = Annotated[float, Field(gt=0, le=315_360_000)]  # ten years: longer ones overflow what is made of them
Megabytes = Annotated[float, Field(le=1_000_000)]
Count = Annotated[int, Field(le=1_000_000_000)]


def _plain_name(name: str) -> str:
    """Accept what can stand in names of triggers and be a channel, and is nobody else's."""
    if not is_schema_name(name):
        raise ValueError(SCHEMA_NAME)
    return name


class Settings(BaseSettings):
    """All settings, by their names in the environment without the prefix; `description` holds meaning and unit."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    # URLs hold passwords: they and the keys stay out of every repr.
    database_url: str = Field(
        default="", repr=False, description="Postgres, postgresql://…, postgres://… or postgresql+asyncpg://…"
    )
    listen_url: str = Field(
        default="", repr=False, description="direct Postgres URL for lead and doorbell; default DATABASE_URL"
    )
    database_schema: Annotated[str, AfterValidator(_plain_name)] = Field(
        default="readside",
        validation_alias=f"{PREFIX}SCHEMA",  # a model of pydantic's has a `schema` already
        description="where our own things are installed; one per deployment on a database",
    )
    doorbell: Literal["on", "off"] = Field(
        default="on", description="on: writers ring by NOTIFY while it is quiet; off: never"
    )
    letters_max_mb: Megabytes = Field(
        default=256.0,
        ge=1,  # the empty tables' indexes alone would go past a few hundredths
        description="letters kept in Postgres; past it the view is compared instead, MB of 10^6",
    )
    redis_url: str = Field(default="", repr=False, description="Redis, redis://… or rediss://…")
    redis_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")] = Field(
        default="readside", description="first part of every Redis key"
    )
    api_keys: str = Field(default="", repr=False, description="comma-separated name:key or name:key:scope+scope")
    auth: Literal["keys", "none"] = Field(default="keys", description="keys, or none to ask for no key")
    cors_origins: str = Field(default="", description="comma-separated origins whose pages may poll")
    max_staleness_seconds: Seconds = Field(default=5.0, description="how far behind Redis may be, seconds")
    heartbeat_seconds: Seconds = Field(default=0.5, ge=0.01, description="time between two proofs of the tail, seconds")
    hot_ttl_seconds: Seconds = Field(default=3600.0, description="an unpolled, silent session stays hot, seconds")
    warm_limit: Count = Field(default=1000, ge=0, description="sessions warmed at start, the most recent ones")
    max_hot_sessions: Count = Field(default=20_000, ge=1, description="hot sessions at most; the idlest leave first")
    window_events: Count = Field(default=20_000, ge=100, description="newest events of a session that are kept hot")
    window_mb: Megabytes = Field(default=64.0, gt=0, description="bytes of a session's events kept hot, MB")
    fallback_concurrency: Count = Field(default=8, ge=1, description="Postgres queries an API process runs at a time")
    statement_cache_size: Count = Field(default=100, ge=0, description="prepared statements a connection; 0 for none")
    max_answer_mb: Megabytes = Field(default=32.0, gt=0, description="longest answer, MB")
    response_cache_mb: Megabytes = Field(
        default=64.0, ge=0, description="finished answers kept in each API process, MB"
    )
    max_connections: int = Field(
        default=10_000, ge=1, le=1_000_000, description="open connections of each API process; past it new ones get 503"
    )
    max_head_kb: int = Field(default=64, ge=4, le=512, description="a request's head, KiB; past it 431")
    head_seconds: float = Field(default=10.0, ge=0.1, le=3600, description="a head must be whole after this, seconds")
    max_body_kb: int = Field(default=16, ge=1, le=512, description="a request's body, KiB; past it 413")
    idle_seconds: float = Field(
        default=75.0, ge=1, le=86_400, description="a connection may wait so long between two requests, seconds"
    )
    untaken_seconds: float = Field(
        default=30.0, ge=0.1, le=3600, description="an answer may wait so long for its client to read, seconds"
    )
    waiting_mb: Megabytes = Field(
        default=32.0, ge=1, description="untaken answers of each API process, requests an eighth of it, MB"
    )
    projector_port: int | None = Field(default=None, ge=1, le=65535, description="projector's health and metrics")
    projector_host: str = Field(default="127.0.0.1", description="address of the projector's health and metrics")
    log_level: Literal["debug", "info", "warning", "error", "critical"] = Field(
        default="info", description="least level"
    )
    log_format: Literal["console", "json"] | None = Field(default=None, description="default: console on a terminal")

    def __init__(self, **instead: Any) -> None:
        """Read the environment; raises WrongVariables. `instead` holds values that count before it."""
        try:
            super().__init__(**instead)
        except ValidationError as exc:
            raise WrongVariables(exc) from None

    def require_database_url(self) -> str:
        """Return DATABASE_URL; raises ConfigurationError when it is not set or not Postgres'."""
        return _url(self.database_url, "DATABASE_URL", ("postgresql", "postgres"))

    def require_redis_url(self) -> str:
        """Return REDIS_URL; raises ConfigurationError when it is not set or not Redis'."""
        return _url(self.redis_url, "REDIS_URL", ("redis", "rediss", "unix"))

    def projector_config(self) -> ProjectorConfig:
        """Build the projector's config; raises ConfigurationError."""
        database_url = self.require_database_url()
        self._check_freshness()
        return ProjectorConfig(
            database_url=database_url,
            listen_url=self._listen_url() or database_url,
            redis_url=self.require_redis_url(),
            redis_prefix=self.redis_prefix,
            schema=self.database_schema,
            doorbell=self.doorbell == "on",
            letters_max_bytes=int(self.letters_max_mb * 1_000_000),
            max_staleness_seconds=self.max_staleness_seconds,
            heartbeat_seconds=self.heartbeat_seconds,
            hot_ttl_seconds=self.hot_ttl_seconds,
            warm_limit=self.warm_limit,
            max_hot_sessions=self.max_hot_sessions,
            window_events=self.window_events,
            window_bytes=int(self.window_mb * 1_000_000),
            statement_cache_size=self.statement_cache_size,
            host=self.projector_host,
            port=self.projector_port,
        )

    def api_config(self, root_path: str = "") -> ApiConfig:
        """Build the query API's config; raises ConfigurationError, also when keys are wanted and none is set."""
        self._check_freshness()
        self._check_waiting()
        return ApiConfig(
            database_url=self.require_database_url(),
            redis_url=self.require_redis_url(),
            redis_prefix=self.redis_prefix,
            keys=self._keys(),
            cors_origins=_origins(self.cors_origins),
            root_path=root_path,
            max_staleness_seconds=self.max_staleness_seconds,
            heartbeat_seconds=self.heartbeat_seconds,
            hot_ttl_seconds=self.hot_ttl_seconds,
            fallback_concurrency=self.fallback_concurrency,
            statement_cache_size=self.statement_cache_size,
            max_answer_bytes=int(self.max_answer_mb * 1_000_000),
            response_cache_bytes=int(self.response_cache_mb * 1_000_000),
            sockets=self._sockets(),
        )

    def secrets(self) -> tuple[str, ...]:
        """Give every key and every URL's password, for the log to mask."""
        keys = (entry.split(":")[1] for entry in self.api_keys.split(",") if ":" in entry)
        found = {key.strip() for key in keys}
        for url in (self.database_url, self.listen_url, self.redis_url):
            match = _PASSWORD.match(url)
            if match:
                found |= {match[1], unquote(match[1])}
        return tuple(sorted(found - {""}))

    def broken_rules(self) -> list[str]:
        """Give a sentence for each setting, and each rule between settings, that would keep a process from starting."""
        rules: tuple[Callable[[], object], ...] = (
            self.require_database_url,
            self._listen_url,
            self.require_redis_url,
            self._check_freshness,
            self._check_waiting,
            self._keys,
            lambda: _origins(self.cors_origins),
        )
        broken = []
        for rule in rules:
            try:
                rule()
            except ConfigurationError as error:
                broken.append(str(error))
        return broken

    def _listen_url(self) -> str:
        return self.listen_url and _url(self.listen_url, "LISTEN_URL", ("postgresql", "postgres"))

    def _check_freshness(self) -> None:
        """Between two beats a view grows as old as they are apart: a bound below that would be passed all the time."""
        if self.heartbeat_seconds >= self.max_staleness_seconds:
            raise ConfigurationError(
                f"{PREFIX}HEARTBEAT_SECONDS is {self.heartbeat_seconds:g} and {PREFIX}MAX_STALENESS_SECONDS "
                f"{self.max_staleness_seconds:g}: beats must be less far apart than the view may be old."
            )

    def _check_waiting(self) -> None:
        """An answer waits for its client to read: one longer than all that may wait could never be given."""
        if self.waiting_mb < self.max_answer_mb:
            raise ConfigurationError(
                f"{PREFIX}WAITING_MB is {self.waiting_mb:g} and {PREFIX}MAX_ANSWER_MB {self.max_answer_mb:g}: "
                "an answer may be no longer than what may wait for clients to read."
            )

    def _sockets(self) -> SocketBounds:
        return SocketBounds(
            max_connections=self.max_connections,
            head_bytes=self.max_head_kb * 1024,
            head_seconds=self.head_seconds,
            idle_seconds=self.idle_seconds,
            untaken_seconds=self.untaken_seconds,
            body_bytes=self.max_body_kb * 1024,
            waiting_bytes=int(self.waiting_mb * 1_000_000),
        )

    def _keys(self) -> dict[bytes, tuple[str, frozenset[str]]] | None:
        if self.auth == "none":
            return None
        keys = parse_keys(self.api_keys)
        if not keys:
            raise ConfigurationError(
                f"{PREFIX}API_KEYS holds no key: set it to name:key, or set {PREFIX}AUTH=none to ask for none."
            )
        return keys


def parse_keys(text: str) -> dict[bytes, tuple[str, frozenset[str]]]:
    """Parse API_KEYS into a key's SHA-256 → (name, scopes); raises ConfigurationError that never shows a key."""
    keys: dict[bytes, tuple[str, frozenset[str]]] = {}
    for place, entry in enumerate(filter(None, map(str.strip, text.split(","))), start=1):
        name, _, rest = entry.partition(":")
        key, _, scopes_text = rest.partition(":")
        scopes = frozenset(scopes_text.split("+")) if scopes_text else frozenset({"read"})
        shown = f"entry {place} of {PREFIX}API_KEYS"
        if not name or not key or not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigurationError(f"{shown} is not name:key or name:key:scope+scope.")
        if not scopes <= SCOPES:
            raise ConfigurationError(f"{shown} ({name}) has an unknown scope; there are read and ops.")
        digest = hashlib.sha256(key.encode()).digest()
        if digest in keys:
            raise ConfigurationError(f"{shown} ({name}) repeats the key of {keys[digest][0]}.")
        keys[digest] = (name, scopes)
    return keys


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(filter(None, (origin.strip().rstrip("/") for origin in text.split(","))))
    for origin in origins:
        scheme, _, host = origin.partition("://")
        if origin != "*" and (scheme not in {"http", "https"} or not host or "/" in host):
            raise ConfigurationError(
                f"{PREFIX}CORS_ORIGINS holds {origin!r}, which is no origin such as https://a.example."
            )
    return origins


def _url(value: str, name: str, schemes: tuple[str, ...]) -> str:
    if not value:
        raise ConfigurationError(f"{PREFIX}{name} is not set; it must be a {schemes[0]}:// URL.")
    scheme, _, rest = value.partition("://")
    if scheme not in schemes:
        raise ConfigurationError(f"{PREFIX}{name} must begin with {' or '.join(f'{s}://' for s in schemes)}.")
    place, mark, more = re.split("([/?#]|$)", rest, maxsplit=1)
    if not value.isprintable() or " " in value or ("@" in more and (mark != "?" or "@" not in place)):
        raise ConfigurationError(
            f"{PREFIX}{name} cannot be read: percent-encode the special characters of its user and password "
            "(%2F for /, %3F for ?, %23 for #, %40 for @)."
        )
    for host in place.rpartition("@")[2].split(","):
        match = _HOST.fullmatch(host)
        if not match or not 0 < int(match[1] or 1) < 65536:
            raise ConfigurationError(
                f"{PREFIX}{name} cannot be read: after the host comes nothing, or : and a port from 1 to 65535."
            )
    return value


class WrongVariables(ConfigurationError):
    """Variables that cannot be read: `sentences` by the name under which pydantic knows each; the first is the text."""

    def __init__(self, exc: ValidationError) -> None:
        errors = exc.errors(include_url=False, include_input=False)
        self.sentences = {str(error["loc"][0]): _sentence(error) for error in reversed(errors)}
        super().__init__(_sentence(errors[0]))


def _sentence(error: ErrorDetails) -> str:
    name = str(error["loc"][0]).upper().removeprefix(PREFIX)
    return f"{PREFIX}{name} is wrong: {error['msg'].removeprefix('Value error, ')}."


def read_as_far_as_possible() -> tuple[Settings, list[str]]:
    """Read the environment, with the default of each variable that is wrong; gives a sentence for each of those too."""
    try:
        return Settings(), []
    except WrongVariables as wrong:
        fields = {field.validation_alias or name: field for name, field in Settings.model_fields.items()}
        return Settings(**{name: fields[name].default for name in wrong.sentences}), list(wrong.sentences.values())


def unknown_variables() -> dict[str, str | None]:
    """Give the READSIDE_ variables of the environment that are no setting, with the setting that may be meant."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | {f"{PREFIX}SCHEMA"}
    known -= {f"{PREFIX}DATABASE_SCHEMA"}
    known |= {f"{name}_FILE" for name in known if is_secret(name)}
    unknown = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
    return {name: next(iter(get_close_matches(name.upper(), known, 1)), None) for name in unknown}


def is_secret(name: str) -> bool:
    """Whether a variable holds a secret, and may be given as a file instead."""
    return name.removeprefix(PREFIX) in {"DATABASE_URL", "LISTEN_URL", "REDIS_URL", "API_KEYS", "JWT_SECRET"}


def secret_files() -> dict[str, str]:
    """Give the files of secrets that the environment names, by variable."""
    return {
        name: value for name, value in os.environ.items() if name.endswith("_FILE") and is_secret(name[: -len("_FILE")])
    }


def otlp_endpoint() -> str:
    """Give OpenTelemetry's own variable for where traces go; "" for nowhere."""
    return os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()


def default_sslmode() -> str | None:
    """Give libpq's own variable for a Postgres URL that has no sslmode: asyncpg honours it too."""
    return os.environ.get("PGSSLMODE") or None


def child_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Give our environment to a process that we start, with these settings (their names without the prefix) in it.

    An empty value takes a setting back to its default.
    """
    changed = {f"{PREFIX}{name}": value for name, value in changes.items()}
    return {name: value for name, value in os.environ.items() if name.upper() not in changed} | changed
