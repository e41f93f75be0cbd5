"""What both stores' errors become: our own, each one sentence, none with a secret in it."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from redis import exceptions as redis_errors
from redis.asyncio import Redis

from readmodel.errors import (
    AccessRefused,
    BadEvents,
    ConfigurationError,
    DiskFull,
    EventLogUnavailable,
    ForeignView,
    QueryTooSlow,
    RightsMissing,
    SchemaMissing,
    ServerInRecovery,
    ServiceError,
    ViewFull,
    ViewUnavailable,
)
from readmodel.postgres import client as postgres_client
from readmodel.postgres.url import address_of
from readmodel.redis import client as redis_client
from readmodel.redis.servers import OneServer
from readmodel.view.keys import Keys

SECRET = "hunter2"
POSTGRES = f"postgresql://app:{SECRET}@db.example:5433/shop"


def is_one_sentence(error: BaseException) -> None:
    """Check what every error of ours must be: one line, full stop, no secret, the cause chained."""
    sentence = str(error)
    assert SECRET not in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert not sentence.endswith("..")


@pytest.mark.parametrize(
    ("raised", "becomes"),
    [
        (asyncpg.InvalidPasswordError('password authentication failed for user "app"'), AccessRefused),
        (asyncpg.InvalidAuthorizationSpecificationError("no pg_hba.conf entry"), AccessRefused),
        (asyncpg.InvalidCatalogNameError('database "shop" does not exist'), AccessRefused),
        (asyncpg.UndefinedTableError('relation "events" does not exist'), SchemaMissing),
        (asyncpg.UndefinedColumnError("column e.step_id does not exist"), SchemaMissing),
        (asyncpg.InsufficientPrivilegeError("permission denied for table events"), RightsMissing),
        (asyncpg.DatetimeFieldOverflowError("timestamp out of range"), BadEvents),
        (asyncpg.UntranslatableCharacterError("\\u0000 cannot be converted to text"), BadEvents),
        (asyncpg.ProgramLimitExceededError("invalid memory alloc request size"), BadEvents),
        (asyncpg.InternalServerError("invalid memory alloc request size 1200000000"), BadEvents),
        (asyncpg.InternalServerError("cache lookup failed for type 7"), EventLogUnavailable),
        (asyncpg.DataCorruptedError("missing chunk number 0 for toast value 7"), BadEvents),
        (asyncpg.CardinalityViolationError("more than one row returned by a subquery"), BadEvents),
        (asyncpg.DiskFullError("could not extend file: No space left on device"), DiskFull),
        (asyncpg.TooManyConnectionsError("sorry, too many clients already"), EventLogUnavailable),
        (asyncpg.CannotConnectNowError("the database system is starting up"), EventLogUnavailable),
        (asyncpg.AdminShutdownError("terminating connection"), EventLogUnavailable),
        (asyncpg.QueryCanceledError("canceling statement due to statement timeout"), QueryTooSlow),
        (asyncpg.DeadlockDetectedError("deadlock detected"), EventLogUnavailable),
        (asyncpg.OutOfMemoryError("out of shared memory"), EventLogUnavailable),
        (asyncpg.ConnectionDoesNotExistError("connection was closed"), EventLogUnavailable),
        (asyncpg.InterfaceError("connection is closed"), EventLogUnavailable),
        (asyncpg.InternalClientError("got result for unknown protocol state 3"), EventLogUnavailable),
        (asyncpg.TargetServerAttributeNotMatched("None of the hosts match"), ServerInRecovery),
        (ConnectionRefusedError(111, "Connect call failed"), EventLogUnavailable),
        (ConnectionResetError(), EventLogUnavailable),
        (TimeoutError(), QueryTooSlow),
        (UnicodeError("label too long"), EventLogUnavailable),
        (asyncpg.exceptions.ClientConfigurationError("`sslmode` must be one of: disable, …"), ConfigurationError),
        (ValueError(f"invalid literal for int() with base 10: '{SECRET}'"), ConfigurationError),
        (OverflowError("connect(): port must be 0-65535."), ConfigurationError),
        (asyncpg.PostgresError("two\nlines. "), EventLogUnavailable),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else type(value).__name__,
)
def test_what_postgres_errors_become(raised: Exception, becomes: type[ServiceError]) -> None:
    """Each class of asyncpg's and the socket's is one of ours, with the place and the server's own reason."""
    with pytest.raises(ServiceError) as caught, postgres_client.translated(POSTGRES):
        raise raised

    assert type(caught.value) is becomes
    assert caught.value.__cause__ is raised
    is_one_sentence(caught.value)
    assert "db.example:5433/shop" in str(caught.value) or becomes is ConfigurationError


def test_postgres_says_who_and_why() -> None:
    """One sentence as an operator reads it."""
    with pytest.raises(AccessRefused) as caught, postgres_client.translated(POSTGRES):
        raise asyncpg.InvalidCatalogNameError('database "shop" does not exist')

    assert str(caught.value) == 'PostgreSQL at db.example:5433/shop refuses us: database "shop" does not exist.'


def test_a_full_lock_table_is_told_with_what_to_do() -> None:
    """Postgres answers, and a plan over a thousand partitions takes thousands of locks."""
    with pytest.raises(EventLogUnavailable) as caught, postgres_client.translated(POSTGRES):
        raise asyncpg.OutOfMemoryError("out of shared memory")

    assert "does not answer" not in str(caught.value)
    assert "max_locks_per_transaction" in str(caught.value)


def test_a_library_does_not_tell_of_itself() -> None:
    """What asyncpg says of its own states is nothing to an operator."""
    with pytest.raises(EventLogUnavailable) as caught, postgres_client.translated(POSTGRES):
        raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")

    assert str(caught.value) == (
        "PostgreSQL at db.example:5433/shop does not answer: it ended a connection that was in use."
    )


@pytest.mark.parametrize("raised", [asyncio.CancelledError(), KeyboardInterrupt(), ZeroDivisionError(), BadEvents("x")])
def test_what_is_not_the_stores_passes(raised: BaseException) -> None:
    """Cancelling, our own errors and our own mistakes are nobody's outage."""
    with pytest.raises(type(raised)) as caught, postgres_client.translated(POSTGRES):
        raise raised
    assert caught.value is raised

    redis = redis_client.connect("redis://h/0", name="test")
    with pytest.raises(type(raised)) as caught, redis_client.translated(redis):
        raise raised
    assert caught.value is raised


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (POSTGRES, "db.example:5433/shop"),
        (f"postgres://app:{SECRET}%40x@db/shop?password={SECRET}", "db/shop"),
        (f"postgres://{SECRET}@h1:1,h2:2/shop", "h1:1,h2:2/shop"),
        (f"postgres://app:{SECRET}@[::1]:5/shop", "[::1]:5/shop"),
        ("postgresql:///shop", "localhost/shop"),
        (f"postgresql://app:{SECRET}@", "localhost"),
        # Passwords with a / ? # @ in them that nobody percent-encoded.
        (f"postgresql://app:{SECRET}/x@db:5433/shop", "an unreadable URL"),
        (f"postgresql://app:1{SECRET}?x@db:5433/shop", "an unreadable URL"),
        (f"postgresql://app:{SECRET}#x@db:5433/shop", "an unreadable URL"),
        (f"postgresql://app:x@{SECRET}/x@db:5433/shop", "an unreadable URL"),
        (f"postgresql://app:x@{SECRET}@db:5433/shop", "db:5433/shop"),
        (f"postgresql://app:{SECRET}", "an unreadable URL"),
        (f"postgresql://[{SECRET}", "an unreadable URL"),
    ],
)
def test_the_place_of_a_postgres_url(url: str, place: str) -> None:
    """Host, port and database; never a part of user or password, however the URL is broken."""
    assert postgres_client.target(url) == place


@pytest.mark.parametrize(
    "scheme",
    ["postgresql", "postgres", "postgresql+asyncpg", "postgres+asyncpg", "postgresql+psycopg", "postgresql+psycopg2"],
)
def test_the_schemes_of_a_postgres_url(scheme: str) -> None:
    """Postgres' own two, and SQLAlchemy's, which name a driver too: all are turned into the first."""
    url = f"{scheme}://app:{SECRET}@db/shop"

    postgres_client.check_url(url, "READSIDE_DATABASE_URL")
    assert postgres_client.target(url) == "db/shop"
    assert address_of(url).urls == (f"postgresql://app:{SECRET}@db/shop",)


@pytest.mark.parametrize("scheme", ["mysql", "postgresql+nothing", "http"])
def test_another_scheme_is_refused(scheme: str) -> None:
    """By the setting's name."""
    with pytest.raises(ConfigurationError, match="READSIDE_DATABASE_URL must begin with postgresql://"):
        postgres_client.check_url(f"{scheme}://db/shop", "READSIDE_DATABASE_URL")


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://app:{SECRET}/x@127.0.0.1:1/shop",
        f"postgresql://app:{SECRET}?x@127.0.0.1:1/shop",
        f"postgresql://app:{SECRET}#x@127.0.0.1:1/shop",
        f"postgresql://app:{SECRET}@127.0.0.1:99999/shop",
        f"postgresql://app:{SECRET}@127.0.0.1:{SECRET}/shop",
        f"postgresql://app:{SECRET}@127.0.0.1:1/shop?sslmode=wrong",
        f"postgresql://app:{SECRET}@127.0.0.1:1/shop?{SECRET}",
        f"postgresql://app:{SECRET}@[::1/shop",
    ],
)
async def test_a_postgres_url_that_cannot_be_used(url: str) -> None:
    """Waiting would not mend it: a setting is wrong, and the sentence does not show it."""
    with pytest.raises(ConfigurationError, match=r"The Postgres URL cannot be used") as caught:
        await postgres_client.connect(url, application_name="test", timeout_seconds=2)

    is_one_sentence(caught.value)


async def test_a_postgres_that_is_away() -> None:
    """Nothing listens there: it may come back."""
    with pytest.raises(EventLogUnavailable, match=r"PostgreSQL at 127\.0\.0\.1:1/shop does not answer: ") as caught:
        await postgres_client.connect(f"postgresql://app:{SECRET}@127.0.0.1:1/shop", application_name="test")

    is_one_sentence(caught.value)


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    """A client that has sent nothing yet."""
    client = redis_client.connect(f"redis://app:{SECRET}@cache.example:6380/3", name="test")
    yield client
    await client.aclose()


@pytest.mark.parametrize(
    ("raised", "becomes"),
    [
        (redis_errors.AuthenticationError("invalid username-password pair or user is disabled."), AccessRefused),
        (redis_errors.NoPermissionError("this user has no permissions to run the 'eval' command"), AccessRefused),
        (redis_errors.AuthorizationError("x"), AccessRefused),
        (redis_errors.ResponseError("NOAUTH Authentication required."), AccessRefused),
        (redis_errors.ResponseError("WRONGPASS invalid username-password pair"), AccessRefused),
        (redis_errors.ResponseError("NOPERM No permissions to access a key"), AccessRefused),
        (redis_errors.ResponseError("WRONGTYPE Operation against a key"), ForeignView),
        (redis_errors.ResponseError("user_script:5: WRONGTYPE Operation against a key"), ForeignView),
        (redis_errors.ResponseError("unknown command 'EVALSHA'"), ViewUnavailable),
        (redis_errors.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), ViewFull),
        (redis_errors.ReadOnlyError("You can't write against a read only replica."), ViewUnavailable),
        (redis_errors.BusyLoadingError("Redis is loading the dataset in memory"), ViewUnavailable),
        (redis_errors.MaxConnectionsError("Too many connections"), ViewUnavailable),
        (redis_errors.ConnectionError("Connection reset by peer"), ViewUnavailable),
        (redis_errors.TimeoutError("Timeout reading from cache.example:6380"), ViewUnavailable),
        (redis_errors.InvalidResponse("Protocol error"), ViewUnavailable),
        (redis_errors.RedisError(), ViewUnavailable),
        (OSError(113, "No route to host"), ViewUnavailable),
        (TimeoutError(), ViewUnavailable),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else f"{type(value).__name__} {value}",
)
def test_what_redis_errors_become(redis: Redis, raised: Exception, becomes: type[ServiceError]) -> None:
    """Each class of redis-py's and the socket's is one of ours, with the place and the server's own reason."""
    with pytest.raises(ServiceError) as caught, redis_client.translated(redis):
        raise raised

    assert type(caught.value) is becomes
    assert caught.value.__cause__ is raised
    is_one_sentence(caught.value)
    assert "Redis at cache.example:6380/3 " in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}/x@h/0",
        f"redis://:{SECRET}?x@h/0",
        f"redis://:{SECRET}#x@h/0",
        f"redis://app:1234/{SECRET}@h/0",
        f"redis://:{SECRET}@h:{SECRET}/0",
        f"redis://:{SECRET}@h:99999/0",
        f"redis://:{SECRET}@h/{SECRET}",
        f"redis://:{SECRET}@h/0/1",
        f"redis://:{SECRET}@h/0?unknown_option=1",
        f"redis://:{SECRET}@h/0?socket_timeout={SECRET}",
        f"redis://:{SECRET}@[::1/0",
        f"http://:{SECRET}@h/0",
        SECRET,
        "",
    ],
)
def test_a_redis_url_that_cannot_be_used(url: str) -> None:
    """The setting is named, not shown; nothing is tried."""
    with pytest.raises(ConfigurationError, match=r"^READSIDE_REDIS_URL is not a redis:// or rediss:// URL") as caught:
        _ = redis_client.connect(url, name="test")

    is_one_sentence(caught.value)


@pytest.mark.parametrize(
    ("url", "place", "database"),
    [
        (f"redis://:{SECRET}@cache", "cache:6379/0", 0),
        (f"redis://app:{SECRET}@cache:7000/", "cache:7000/0", 0),
        (f"rediss://:{SECRET}@cache/5", "cache:6379/5", 5),
        (f"redis://cache/?db=4&password={SECRET}", "cache:6379/4", 4),
        (f"unix://:{SECRET}@/run/redis.sock?db=2", "/run/redis.sock/2", 2),
    ],
)
async def test_the_place_of_a_redis(url: str, place: str, database: int) -> None:
    """Host, port and database."""
    redis = redis_client.connect(url, name="test")
    await redis.aclose()

    assert redis_client.target(redis) == place
    assert OneServer(redis).database == database


def test_keys_lie_in_one_slot() -> None:
    """Every name carries the tag; channels carry the database, which Redis shares between them."""
    keys = Keys("p", 5)
    names = [keys.position, keys.hot, keys.projectors, keys.header("s"), keys.events("s"), keys.index("s")]
    names += [keys.apis, keys.staging("x"), keys.changes, keys.requests, keys.replies("r")]

    assert all(name.startswith("p:{0}:") for name in names)
    assert len(set(names)) == len(names)
    assert {keys.changes, keys.requests, keys.replies("r")}.isdisjoint(
        {Keys("p", 6).changes, Keys("p", 6).requests, Keys("p", 6).replies("r")}
    )
