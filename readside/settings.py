"""The one place that reads the environment: parses every READSIDE_ variable and builds each part's config."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, PrivateAttr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from projector.config import ProjectorConfig
from query_api.access.token_config import TokenConfig, check_jwks_url, is_url, parse_secrets
from query_api.config import ApiConfig
from query_api.doorway.bounds import SocketBounds
from readmodel.errors import ConfigurationError
from readmodel.postgres.schema import SCHEMA_NAME, is_schema_name
from readmodel.postgres.url import address_of
from readmodel.view.slices import MAX_SLICES
from readside.api_keys import Keys, parse_keys, parse_keys_file, written_keys, written_keys_of_file
from readside.browsers import OWN_HOSTS, parse_hosts, parse_origins
from readside.exposure import check_origins
from readside.secret_files import GivenSecrets
from readside.urls import POSTGRES, REDIS, check_standby, checked_url, passwords

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

PREFIX = "READSIDE_"
_ALIKE = 0.85
"""A misspelt variable is so much like the one that is meant; all of them begin alike."""
_SECRETS = ("database_url", "replica_urls", "listen_url", "redis_url", "api_keys", "jwt_secret")
"""Settings that a file may hold instead: NAME_FILE is its path."""
DATABASE_URL, REPLICA_URLS, LISTEN_URL, REDIS_URL, API_KEYS, JWT_SECRET = (
    f"{PREFIX}{name.upper()}" for name in _SECRETS
)

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
        default="",
        repr=False,
        description=(
            "Postgres: `postgresql://…`, `postgres://…` or `postgresql+asyncpg://…`, one host or several. "
            "Every command needs it but `status`, `warm`, `rebuild`, `token` and `demo`."
        ),
    )
    database_url_file: Path | None = Field(
        default=None, repr=False, description="File that holds `READSIDE_DATABASE_URL`."
    )
    replica_urls: str = Field(
        default="", repr=False, description="URLs of hot standbys that may answer cold polls, separated by spaces."
    )
    replica_urls_file: Path | None = Field(
        default=None, repr=False, description="File that holds `READSIDE_REPLICA_URLS`."
    )
    listen_url: str = Field(
        default="",
        repr=False,
        description=(
            "Direct Postgres URL for the lead and the doorbell, where `READSIDE_DATABASE_URL` goes through a "
            "pooler. Without it `READSIDE_DATABASE_URL` is used."
        ),
    )
    listen_url_file: Path | None = Field(default=None, repr=False, description="File that holds `READSIDE_LISTEN_URL`.")
    database_schema: Annotated[str, AfterValidator(_plain_name)] = Field(
        default="readside",
        validation_alias=f"{PREFIX}SCHEMA",  # a model of pydantic's has a `schema` already
        description=(
            "Schema in which our own things are installed: one for each deployment on a database, the same "
            "for all processes."
        ),
    )
    doorbell: Literal["on", "off"] = Field(
        default="on",
        description=(
            "`on`: writers ring by NOTIFY while it is quiet. `off`: nobody rings, prepared transactions work,"
            " and the projector looks every 20 ms."
        ),
    )
    letters_max_mb: Megabytes = Field(
        default=256.0,
        ge=1,  # the empty tables' indexes alone would go past a few hundredths
        description="Letters kept in Postgres. Past it writers leave none, and the view is compared instead.",
    )
    redis_url: str = Field(
        default="",
        repr=False,
        description=(
            "Redis: `redis://…`, `rediss://…`, `unix://…`, `redis+cluster://host:port,…` or "
            "`redis+sentinel://host:port,…/service/db` (and `rediss+…`). Every command needs it but "
            "`install`, `uninstall`, `token` and `demo`."
        ),
    )
    redis_url_file: Path | None = Field(default=None, repr=False, description="File that holds `READSIDE_REDIS_URL`.")
    redis_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")] = Field(
        default="readside", description="First part of every Redis key and channel. Keys of others are never touched."
    )
    slices: int = Field(
        default=1,
        ge=1,
        le=MAX_SLICES,
        description="Parts that the view is cut into; 32 for a Redis Cluster. The same for all processes.",
    )
    api_keys: str = Field(
        default="",
        repr=False,
        description=(
            "API keys, separated by commas: `name:key` or `name:key:scope+scope`. A key has 16 characters or "
            "more; scopes are `read` (the default) and `ops`."
        ),
    )
    api_keys_file: Path | None = Field(
        default=None,
        repr=False,
        description=(
            "File of keys in place of `READSIDE_API_KEYS`, a JSON array. A change is taken up within a minute."
        ),
    )
    jwt_jwks: str = Field(
        default="",
        description=(
            "Whose keys may sign tokens: a JWKS in a file, read again every 5 s, or behind `https://` "
            "(`http://` on loopback alone), fetched every 5 minutes and for a `kid` that is not known."
        ),
    )
    jwt_secret: str = Field(
        default="",
        repr=False,
        description=(
            "Secrets that may sign tokens with HS256, 32 bytes or more each; up to four, one a line. All are "
            "believed; the first signs what `readside token` mints."
        ),
    )
    jwt_secret_file: Path | None = Field(
        default=None,
        repr=False,
        description="File that holds `READSIDE_JWT_SECRET`. A change is taken up within a minute.",
    )
    jwt_audience: Annotated[str, Field(max_length=200)] = Field(
        default="readside", description="What a token's `aud` must be, or have among others."
    )
    jwt_issuer: Annotated[str, Field(max_length=200)] = Field(
        default="", description="What a token's `iss` must be. Without it whoever can sign may issue."
    )
    auth: Literal["keys", "none", "none-on-purpose"] = Field(
        default="keys",
        description=(
            "`keys`, or `none` to ask for no key: on a loopback address alone; elsewhere it must be "
            "`none-on-purpose`. With `keys` and none configured the API refuses to start."
        ),
    )
    cors_origins: str = Field(
        default="",
        description=(
            "Origins whose pages may poll, separated by commas. `*` is any; it is refused where no key is asked for."
        ),
    )
    allowed_hosts: str = Field(
        default="",
        description=(
            "Values of `Host` that are accepted, separated by commas, without ports. `*.a.example` covers every name "
            "below it. Health probes may name any. Without it hosts are not checked, but for "
            "`READSIDE_AUTH=none`: then they are `localhost`, `127.0.0.1` and `[::1]`."
        ),
    )
    polls_per_second: float | None = Field(
        default=None,
        ge=0.001,
        le=1_000_000,
        description=(
            "Polls a second that one key or token may ask of an API process, past a burst of five seconds' "
            "worth; then 429. Without it: any number."
        ),
    )
    max_staleness_seconds: Seconds = Field(
        default=5.0,
        description=(
            "How far behind Redis may be before the API asks Postgres instead. Keep it several heartbeats long."
        ),
    )
    heartbeat_seconds: Seconds = Field(
        default=0.5,
        ge=0.01,
        description="Time between two heartbeats. It must be less than `READSIDE_MAX_STALENESS_SECONDS`.",
    )
    hot_ttl_seconds: Seconds = Field(
        default=3600.0, description="A session that nobody polls and in which nothing happens leaves Redis after this."
    )
    warm_limit: Count = Field(
        default=1000,
        ge=0,
        description=(
            "Sessions that are warmed when a term begins: the most recently created that are not completed, "
            "failed or cancelled."
        ),
    )
    max_hot_sessions: Count = Field(
        default=20_000, ge=1, description="Hot sessions at most. The idlest leave for new ones."
    )
    window_events: Count = Field(default=20_000, ge=100, description="Newest events of one session that are kept hot.")
    window_mb: Megabytes = Field(default=64.0, gt=0, description="JSON of one session's events that is kept hot.")
    fallback_concurrency: Count = Field(
        default=8,
        ge=1,
        description=(
            "Polls of Postgres that each API process runs at a time. Past it polls wait, then get 503. One "
            "key holds half of it alone, a quarter while others ask."
        ),
    )
    statement_cache_size: Count = Field(
        default=100,
        ge=0,
        description="Prepared statements of each pooled Postgres connection. `0` behind a transaction pooler.",
    )
    max_answer_mb: Megabytes = Field(
        default=32.0,
        gt=0,
        description=(
            "Longest answer. Past it a page is shortened, or a 400 names the `limit` that fits where one was asked for."
        ),
    )
    response_cache_mb: Megabytes = Field(
        default=64.0,
        ge=0,
        description="Finished answers that each API process keeps, compressed forms included. `0` for none.",
    )
    max_waiting: int = Field(
        default=20_000,
        ge=1,
        le=1_000_000,
        description=(
            "Polls that each API process holds, for news (`wait`, `live`) or for an instant "
            "(`Readside-Not-Before`). Past it 429."
        ),
    )
    max_connections: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description=(
            "Open connections of clients in each API process. Past it new ones get 503 and are closed. Less "
            "where the limit of open files leaves less."
        ),
    )
    max_head_kb: int = Field(
        default=64,
        ge=4,
        le=512,
        description="Head of a request, its first line included. Past it, or past 128 fields, 431.",
    )
    head_seconds: float = Field(
        default=10.0,
        ge=0.1,
        le=3600,
        description=(
            "A request's head must be complete this long after its first byte, and its body this long after its head; "
            "else 408."
        ),
    )
    max_body_kb: int = Field(
        default=16, ge=1, le=512, description="Body of a request; no route needs one. Past it 413."
    )
    idle_seconds: float = Field(
        default=75.0,
        ge=1,
        le=86_400,
        description=(
            "A connection that asks nothing is closed after this. Keep it longer than a proxy's pool keeps connections."
        ),
    )
    untaken_seconds: float = Field(
        default=30.0,
        ge=0.1,
        le=3600,
        description="A connection whose client does not read its answer is closed after this.",
    )
    waiting_mb: Megabytes = Field(
        default=32.0,
        ge=1,
        description=(
            "What untaken answers of all connections of an API process may hold; requests until they are "
            "answered may hold an eighth of it. Not less than `READSIDE_MAX_ANSWER_MB`."
        ),
    )
    projector_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port where the projector serves `/health/live`, `/health/ready` and `/metrics`. Off unless set.",
    )
    projector_host: str = Field(default="127.0.0.1", description="Address on which the projector serves that port.")
    log_level: Literal["debug", "info", "warning", "error", "critical"] = Field(
        default="info", description="Least level of what is logged."
    )
    log_format: Literal["console", "json"] | None = Field(
        default=None, description="`console` or `json`. Without it `console` on a terminal, else `json`."
    )

    _given: GivenSecrets = PrivateAttr()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 (pydantic passes all four)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the same)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the same)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is passed, and the environment: pydantic would also look for files, of which none is named."""
        return init_settings, env_settings

    def __init__(self, **instead: Any) -> None:
        """Read the environment, and the files that it names; raises ConfigurationError for the first wrong variable.

        `instead` holds values that count before the environment's.
        """
        try:
            super().__init__(**instead)
        except ValidationError as exc:
            raise WrongVariables(exc) from None
        files = {f"{PREFIX}{name.upper()}": getattr(self, f"{name}_file") for name in _SECRETS}
        self._given = GivenSecrets(
            {f"{PREFIX}{name.upper()}": getattr(self, name) for name in _SECRETS},
            {variable: path for variable, path in files.items() if path is not None},
        )

    def require_database_url(self) -> str:
        """Return DATABASE_URL; raises ConfigurationError when it is not set or not Postgres'."""
        return checked_url(self._given.text(DATABASE_URL), self._given.source(DATABASE_URL), POSTGRES)

    def require_redis_url(self) -> str:
        """Return REDIS_URL; raises ConfigurationError when it is not set or not Redis'."""
        return checked_url(self._given.text(REDIS_URL), self._given.source(REDIS_URL), REDIS)

    def checked_listen_url(self) -> str:
        """Return LISTEN_URL, "" where it is not set; raises ConfigurationError when it is not Postgres'."""
        url = self._given.text(LISTEN_URL)
        return url and checked_url(url, self._given.source(LISTEN_URL), POSTGRES)

    def checked_replica_urls(self) -> tuple[str, ...]:
        """Return REPLICA_URLS; raises ConfigurationError where one is no standby's or two lead to the same server."""
        from readmodel.postgres.client import place_of  # loads asyncpg, which some commands do without

        source = self._given.source(REPLICA_URLS)
        urls = tuple(checked_url(url, source, POSTGRES) for url in self._given.text(REPLICA_URLS).split())
        if any("://" in url.partition("://")[2].partition("?")[0] for url in urls):
            raise ConfigurationError(f"{source} cannot be read: between two URLs stands a space.")
        for url in urls:
            check_standby(url, source)
        places = [place_of(url) for url in urls]
        twice = next((place for place in places if places.count(place) > 1), None)
        if twice:
            raise ConfigurationError(f"{source} names {twice} twice: a standby is named once.")
        return urls

    def projector_config(self) -> ProjectorConfig:
        """Build the projector's config; raises ConfigurationError."""
        database_url = self.require_database_url()
        self._check_freshness()
        return ProjectorConfig(
            database_url=database_url,
            listen_url=self.checked_listen_url() or database_url,
            redis_url=self.require_redis_url(),
            redis_prefix=self.redis_prefix,
            slices=self.slices,
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
        origins = self._origins()
        return ApiConfig(
            database_url=self.require_database_url(),
            redis_url=self.require_redis_url(),
            replica_urls=self.checked_replica_urls(),
            redis_prefix=self.redis_prefix,
            slices=self.slices,
            schema=self.database_schema,
            keys=self._keys(),
            keys_file=self._watched(API_KEYS),
            secrets_file=self._watched(JWT_SECRET),
            tokens=self.token_config() if self.auth == "keys" else None,
            cors_origins=origins,
            allowed_hosts=parse_hosts(self.allowed_hosts or (OWN_HOSTS if self.auth == "none" else "")),
            polls_per_second=self.polls_per_second,
            root_path=root_path,
            max_staleness_seconds=self.max_staleness_seconds,
            heartbeat_seconds=self.heartbeat_seconds,
            hot_ttl_seconds=self.hot_ttl_seconds,
            fallback_concurrency=self.fallback_concurrency,
            statement_cache_size=self.statement_cache_size,
            max_answer_bytes=int(self.max_answer_mb * 1_000_000),
            response_cache_bytes=int(self.response_cache_mb * 1_000_000),
            max_waiting=self.max_waiting,
            sockets=self._sockets(),
        )

    def token_config(self) -> TokenConfig | None:
        """Build what is told about tokens; None where nobody may sign any. Raises ConfigurationError."""
        secrets = parse_secrets(self._given.text(JWT_SECRET), self._given.source(JWT_SECRET))
        if not secrets and not self.jwt_jwks:
            return None
        name = f"{PREFIX}JWT_JWKS"
        if is_url(self.jwt_jwks):
            check_jwks_url(self.jwt_jwks, name)
        elif self.jwt_jwks:
            from query_api.access.key_ring import check_file  # loads cryptography, which most commands do without

            check_file(self.jwt_jwks, name)
        return TokenConfig(self.jwt_jwks, secrets, self.jwt_audience, self.jwt_issuer)

    def without_effect(self) -> dict[str, tuple[str, ...]]:
        """Give, by variable, the parameters in Postgres URLs that do nothing here; what cannot be read has none."""
        found = {}
        for variable in (DATABASE_URL, REPLICA_URLS, LISTEN_URL):
            names: dict[str, None] = {}
            for url in self._given.readable(variable).split() or [""]:
                with suppress(ConfigurationError, ValueError):
                    names |= dict.fromkeys(address_of(url).without_effect)
            found[variable] = tuple(names)
        return {variable: names for variable, names in found.items() if names}

    def secrets(self) -> tuple[str, ...]:
        """Every key, every secret and every URL's password, for the log to mask."""
        readable = self._given.readable
        written = written_keys if self._given.file(API_KEYS) is None else written_keys_of_file
        found = written(readable(API_KEYS))
        for variable in (DATABASE_URL, LISTEN_URL, REDIS_URL):
            found |= passwords(readable(variable))
        for url in readable(REPLICA_URLS).split():
            found |= passwords(url)
        found |= {secret.strip() for secret in readable(JWT_SECRET).splitlines()}
        return tuple(sorted(found - {""}))

    def broken_rules(self) -> list[str]:
        """A sentence for each setting, and each rule between settings, that keeps a process of ours from starting.

        What cannot be read of the keys is not among them: `given_keys` and `token_config` say it.
        """
        rules: tuple[Callable[[], object], ...] = (
            self.require_database_url,
            self.checked_replica_urls,
            self.checked_listen_url,
            self.require_redis_url,
            self._check_freshness,
            self._check_waiting,
            self._origins,
            lambda: parse_hosts(self.allowed_hosts),
        )
        return [str(error) for error in map(_refusal, rules) if error]

    def _origins(self) -> tuple[str, ...]:
        origins = parse_origins(self.cors_origins)
        check_origins(self.auth, origins)
        return origins

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

    def given_keys(self) -> Keys:
        """Parse the keys of variable or file, of which there may be none; raises ConfigurationError."""
        text = self._given.text(API_KEYS)
        if self._given.file(API_KEYS) is None:
            return parse_keys(text)
        return parse_keys_file(text, self._given.source(API_KEYS))

    def secret_files(self) -> dict[str, Path]:
        """The files that hold secrets, each by the variable that names it."""
        return self._given.files

    def _keys(self) -> Keys | None:
        if self.auth != "keys":
            return None
        keys = self.given_keys()
        if not keys and not self.jwt_jwks and not self._given.text(JWT_SECRET).strip():
            raise ConfigurationError(
                f"{self._given.source(API_KEYS)} holds no key: set it to name:key, or set {PREFIX}AUTH=none to ask for "
                "none."
            )
        return keys

    def _watched(self, variable: str) -> Path | None:
        path = self._given.file(variable)
        return None if path is None or self.auth != "keys" else path.absolute()


class WrongVariables(ConfigurationError):
    """Variables that cannot be read: `sentences` by the name under which pydantic knows each; the first is the text."""

    def __init__(self, exc: ValidationError) -> None:
        errors = exc.errors(include_url=False, include_input=False)
        self.sentences = {str(error["loc"][0]): _sentence(error) for error in reversed(errors)}
        super().__init__(_sentence(errors[0]))


def _sentence(error: ErrorDetails) -> str:
    name = str(error["loc"][0]).upper().removeprefix(PREFIX)
    return f"{PREFIX}{name} is wrong: {error['msg'].removeprefix('Value error, ')}."


def _refusal(rule: Callable[[], object]) -> ConfigurationError | None:
    try:
        rule()
    except ConfigurationError as error:
        return error
    return None


def read_as_far_as_possible() -> tuple[Settings, list[str]]:
    """Read the environment with the default of each variable that is wrong; gives a sentence for each of those too."""
    instead: dict[str, Any] = {}
    sentences: list[str] = []
    fields = {field.validation_alias or name: field for name, field in Settings.model_fields.items()}
    while True:
        try:
            return Settings(**instead), sentences
        except WrongVariables as wrong:
            found = {name: fields[name].default for name in wrong.sentences}
            sentences += wrong.sentences.values()
        except ConfigurationError as error:  # a secret is given twice: its file counts
            found = {name: "" for name in _SECRETS if f"{PREFIX}{name.upper()} and" in str(error)}
            sentences.append(str(error))
        if not found.keys() - instead.keys():
            raise AssertionError(f"Nothing more can be left out: {sentences}")
        instead |= found


def unknown_variables() -> dict[str, str | None]:
    """The READSIDE_ variables of the environment that are no setting, with the setting that may be meant."""
    known = {str(field.validation_alias or PREFIX + name.upper()) for name, field in Settings.model_fields.items()}
    unknown = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
    return {name: next(iter(get_close_matches(name.upper(), known, 1, _ALIKE)), None) for name in unknown}


def default_sslmode() -> str | None:
    """Libpq's own variable for a Postgres URL that has no sslmode: asyncpg honours it too."""
    return os.environ.get("PGSSLMODE") or None


def otlp_endpoint() -> str:
    """OpenTelemetry's own variable for where traces go; "" for nowhere."""
    return os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()


def child_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process that we start: ours with these settings, by their names without the prefix.

    An empty value takes a setting back to its default. A file that holds one of them is named no longer.
    """
    changed = {f"{PREFIX}{name}": value for name, value in changes.items()}
    dropped = changed.keys() | {f"{name}_FILE" for name in changed}
    return {name: value for name, value in os.environ.items() if name.upper() not in dropped} | changed
