"""Settings: each wrong value is one sentence that names its variable, and no secret is ever shown."""

import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from readmodel.errors import ConfigurationError
from readside.settings import Settings, child_environment
from tests.support.builders import socket_bounds
from tests.support.keys import KEY

SECRET = "hunter2"
DATABASE_URL = f"postgresql://app:{SECRET}@db.example:5433/shop"
REDIS_URL = f"redis://:{SECRET}@cache.example/3"
NUMBERS = [
    "MAX_STALENESS_SECONDS", "HEARTBEAT_SECONDS", "HOT_TTL_SECONDS", "WARM_LIMIT", "MAX_HOT_SESSIONS", "WINDOW_EVENTS",
    "WINDOW_MB", "FALLBACK_CONCURRENCY", "STATEMENT_CACHE_SIZE", "MAX_ANSWER_MB", "RESPONSE_CACHE_MB",
    "PROJECTOR_PORT", "LETTERS_MAX_MB", "MAX_CONNECTIONS", "MAX_HEAD_KB", "HEAD_SECONDS", "MAX_BODY_KB", "IDLE_SECONDS",
    "UNTAKEN_SECONDS", "WAITING_MB", "POLLS_PER_SECOND", "MAX_WAITING",
]  # fmt: skip


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of ours is set."""
    for name in list(os.environ):
        if name.upper().startswith("READSIDE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Both servers and a key are set."""
    monkeypatch.setenv("READSIDE_DATABASE_URL", DATABASE_URL)
    monkeypatch.setenv("READSIDE_REDIS_URL", REDIS_URL)
    monkeypatch.setenv("READSIDE_API_KEYS", f"dash:{KEY}")
    return monkeypatch


def refusal() -> str:
    """Build everything, which must fail with one sentence."""
    with pytest.raises(ConfigurationError) as caught:
        _build()
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert SECRET not in sentence
    return sentence


def _build() -> None:
    settings = Settings()
    settings.projector_config()
    settings.api_config()


def test_the_contracts_defaults(configured: pytest.MonkeyPatch) -> None:
    """Nothing set but where the servers are, and a key."""
    settings = Settings()
    projector, api = settings.projector_config(), settings.api_config()

    assert (projector.redis_prefix, projector.max_staleness_seconds, projector.heartbeat_seconds) == (
        "readside",
        5,
        0.5,
    )
    assert (projector.schema, projector.doorbell, projector.letters_max_bytes) == ("readside", True, 256_000_000)
    assert (projector.hot_ttl_seconds, projector.warm_limit, projector.port) == (3600, 1000, None)
    assert projector.listen_url == projector.database_url == DATABASE_URL
    assert (api.max_answer_bytes, api.cors_origins, api.root_path) == (32_000_000, (), "")
    assert (settings.log_level, settings.log_format) == ("info", None)
    assert api.sockets == socket_bounds()


def test_values_reach_both_parts(configured: pytest.MonkeyPatch) -> None:
    """What both are told is the same."""
    configured.setenv("READSIDE_MAX_STALENESS_SECONDS", "2.5")
    configured.setenv("READSIDE_HOT_TTL_SECONDS", "60")
    configured.setenv("READSIDE_REDIS_PREFIX", "shop.events")
    projector, api = Settings().projector_config(), Settings().api_config("/prefix")
    shared = {field.name for field in fields(projector)} & {field.name for field in fields(api)}

    assert {"database_url", "redis_url", "redis_prefix", "max_staleness_seconds", "hot_ttl_seconds"} <= shared
    assert [getattr(projector, name) for name in shared] == [getattr(api, name) for name in shared]
    assert (api.max_staleness_seconds, api.hot_ttl_seconds, api.redis_prefix) == (2.5, 60, "shop.events")
    assert api.root_path == "/prefix"


def test_where_ours_is_installed_and_who_rings(configured: pytest.MonkeyPatch) -> None:
    """A schema for each deployment, a doorbell or none, and a bound for letters."""
    configured.setenv("READSIDE_SCHEMA", "second_1")
    configured.setenv("READSIDE_DOORBELL", "off")
    configured.setenv("READSIDE_LETTERS_MAX_MB", "1.5")
    projector = Settings().projector_config()

    assert (projector.schema, projector.doorbell, projector.letters_max_bytes) == ("second_1", False, 1_500_000)


def test_the_least_bound_for_letters(configured: pytest.MonkeyPatch) -> None:
    """A megabyte: the indexes of empty tables would go past less, and no letter would ever be written."""
    configured.setenv("READSIDE_LETTERS_MAX_MB", "1")

    assert Settings().projector_config().letters_max_bytes == 1_000_000


def test_bounds_of_connections(configured: pytest.MonkeyPatch) -> None:
    """Each is a setting: of a head and a body KiB of 1,024 bytes, of all that waits MB of 10^6."""
    given = {
        "MAX_CONNECTIONS": "7",
        "MAX_HEAD_KB": "4",
        "HEAD_SECONDS": "0.5",
        "MAX_BODY_KB": "2",
        "IDLE_SECONDS": "61.5",
    }
    for name, value in {**given, "UNTAKEN_SECONDS": "3", "WAITING_MB": "32.5"}.items():
        configured.setenv(f"READSIDE_{name}", value)

    assert Settings().api_config().sockets == socket_bounds(
        max_connections=7,
        head_bytes=4096,
        head_seconds=0.5,
        idle_seconds=61.5,
        untaken_seconds=3,
        body_bytes=2048,
        waiting_bytes=32_500_000,
    )


def test_the_bound_of_held_polls(configured: pytest.MonkeyPatch) -> None:
    """20,000, or as it is set."""
    usual = Settings().api_config().max_waiting
    configured.setenv("READSIDE_MAX_WAITING", "7")

    assert (usual, Settings().api_config().max_waiting) == (20_000, 7)


@pytest.mark.parametrize(("waiting", "answer"), [("", "64.5"), ("31", ""), ("1", "2")])
def test_an_answer_longer_than_all_that_may_wait(configured: pytest.MonkeyPatch, waiting: str, answer: str) -> None:
    """It could never be given: both settings are named."""
    configured.setenv("READSIDE_WAITING_MB", waiting)
    configured.setenv("READSIDE_MAX_ANSWER_MB", answer)

    assert refusal() == (
        f"READSIDE_WAITING_MB is {waiting or '32'} and READSIDE_MAX_ANSWER_MB {answer or '32'}: "
        "an answer may be no longer than what may wait for clients to read."
    )


@pytest.mark.parametrize(
    "schema",
    [
        "public",
        "information_schema",
        "pg_catalog",
        "pg_",
        "1a",
        "A",
        "a-b",
        "a b",
        "é",
        "a\n",
        "a" * 42,
        'a"b',
        "$user",
    ],
)
def test_a_schema_that_cannot_be_ours(configured: pytest.MonkeyPatch, schema: str) -> None:
    """One sentence names the variable, and says what is accepted."""
    configured.setenv("READSIDE_SCHEMA", schema)

    assert refusal() == (
        "READSIDE_SCHEMA is wrong: it must be a plain name (a-z, 0-9 and _, 41 at most, no digit first) and not "
        "public, information_schema or pg_…."
    )


@pytest.mark.parametrize("schema", ["a", "_", "a" * 41, "publics", "user", "pg"])
def test_a_schema_that_can_be_ours(configured: pytest.MonkeyPatch, schema: str) -> None:
    """Any other plain name."""
    configured.setenv("READSIDE_SCHEMA", schema)

    assert Settings().projector_config().schema == schema


def test_empty_is_unset(configured: pytest.MonkeyPatch) -> None:
    """As Compose files write what is not set."""
    for name in [
        *NUMBERS,
        "LISTEN_URL",
        "LOG_LEVEL",
        "LOG_FORMAT",
        "AUTH",
        "CORS_ORIGINS",
        "ALLOWED_HOSTS",
        "REDIS_PREFIX",
        "SCHEMA",
        "DOORBELL",
    ]:
        configured.setenv(f"READSIDE_{name}", "")

    _build()


def test_the_listener_may_go_another_way(configured: pytest.MonkeyPatch) -> None:
    """Past a pooler."""
    configured.setenv("READSIDE_LISTEN_URL", "postgres://direct/shop")

    assert Settings().projector_config().listen_url == "postgres://direct/shop"


@pytest.mark.parametrize(
    ("name", "scheme"), [("DATABASE_URL", "postgresql://"), ("REDIS_URL", "redis://")], ids=["postgres", "redis"]
)
def test_an_unset_url(configured: pytest.MonkeyPatch, name: str, scheme: str) -> None:
    """The sentence says what it must be."""
    configured.delenv(f"READSIDE_{name}")

    assert refusal() == f"READSIDE_{name} is not set; it must be a {scheme} URL."


@pytest.mark.parametrize("name", ["DATABASE_URL", "LISTEN_URL", "REDIS_URL"])
@pytest.mark.parametrize("value", ["db.example", f"http://:{SECRET}@h", f"{SECRET}", "://", "POSTGRES//h", "mysql://h"])
def test_a_url_of_another_kind(configured: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Named, not shown."""
    configured.setenv(f"READSIDE_{name}", value)

    assert refusal().startswith(f"READSIDE_{name} must begin with ")


@pytest.mark.parametrize("name", ["DATABASE_URL", "LISTEN_URL", "REDIS_URL"])
@pytest.mark.parametrize("password", [f"{SECRET}/x", f"{SECRET}?x", f"{SECRET}#x", f"x@{SECRET}/y", f"a {SECRET}"])
def test_a_password_that_is_not_percent_encoded(configured: pytest.MonkeyPatch, name: str, password: str) -> None:
    """The usual reason for a URL that cannot be read; the sentence says how to write it."""
    scheme = "redis" if name == "REDIS_URL" else "postgresql"
    configured.setenv(f"READSIDE_{name}", f"{scheme}://app:{password}@h.example:5433/0")

    assert refusal().startswith(f"READSIDE_{name} cannot be read: percent-encode ")


@pytest.mark.parametrize("name", ["DATABASE_URL", "LISTEN_URL", "REDIS_URL"])
@pytest.mark.parametrize("place", ["h:99999", "h:0", "h:x", "h:1:2", f"app:{SECRET}", "[::1", "h:1,h:70000", "h:+1"])
def test_a_port_that_is_none(configured: pytest.MonkeyPatch, name: str, place: str) -> None:
    """A server would wait for ever for a host that cannot be."""
    scheme = "redis" if name == "REDIS_URL" else "postgresql"
    configured.setenv(f"READSIDE_{name}", f"{scheme}://u:{SECRET}@{place}/0")

    assert refusal() == (
        f"READSIDE_{name} cannot be read: after the host comes nothing, or : and a port from 1 to 65535."
    )


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://app:%2F{SECRET}%40@h/db",
        "postgresql:///db?host=/tmp&user=a@b",
        "postgres://a@h1:1,h2:2/d",
        "postgres://[::1]:5432/d",
    ],
)
def test_urls_that_can_be_read(configured: pytest.MonkeyPatch, url: str) -> None:
    """Encoded passwords, sockets, several hosts."""
    configured.setenv("READSIDE_DATABASE_URL", url)
    if "a@b" in url:
        assert "percent-encode" in refusal()  # told from a password by nothing
    else:
        _build()


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["ten", "-1", "nan", "inf", "-inf", "1e400", "10" * 40, "1,5", "0x10", "½", SECRET])
def test_a_number_that_is_none(configured: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Each is refused by name, and says what is accepted."""
    configured.setenv(f"READSIDE_{name}", value)

    assert refusal().startswith(f"READSIDE_{name} is wrong: Input should be ")


@pytest.mark.parametrize(
    "name", [name for name in NUMBERS if name not in {"WARM_LIMIT", "STATEMENT_CACHE_SIZE", "RESPONSE_CACHE_MB"}]
)
def test_zero_where_nothing_would_work(configured: pytest.MonkeyPatch, name: str) -> None:
    """Zero is a value only where it means: none."""
    configured.setenv(f"READSIDE_{name}", "0")

    assert refusal().startswith(f"READSIDE_{name} is wrong: ")


@pytest.mark.parametrize("name", ["WARM_LIMIT", "STATEMENT_CACHE_SIZE", "RESPONSE_CACHE_MB"])
def test_zero_where_it_means_none(configured: pytest.MonkeyPatch, name: str) -> None:
    """Warm nothing, prepare nothing, keep nothing."""
    configured.setenv(f"READSIDE_{name}", "0")

    _build()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTH", "yes"), ("LOG_LEVEL", "loud"), ("LOG_FORMAT", "xml"), ("PROJECTOR_PORT", "65536"),
        ("DOORBELL", "maybe"), ("LETTERS_MAX_MB", "1000001"), ("LETTERS_MAX_MB", "0.999"),
        ("REDIS_PREFIX", "a b"), ("REDIS_PREFIX", "a{0}"), ("REDIS_PREFIX", "x" * 65), ("REDIS_PREFIX", "é"),
        ("REDIS_PREFIX", "a\n"), ("HEARTBEAT_SECONDS", "0.001"), ("WINDOW_EVENTS", "99"), ("WARM_LIMIT", "1.5"),
        ("MAX_CONNECTIONS", "1000001"), ("MAX_HEAD_KB", "3"), ("MAX_HEAD_KB", "513"), ("HEAD_SECONDS", "0.09"),
        ("HEAD_SECONDS", "3601"), ("MAX_BODY_KB", "513"), ("IDLE_SECONDS", "0.9"), ("IDLE_SECONDS", "86401"),
        ("UNTAKEN_SECONDS", "0.09"), ("UNTAKEN_SECONDS", "3601"), ("WAITING_MB", "0.9"), ("MAX_WAITING", "0"),
        ("MAX_WAITING", "1000001"),
    ],
)  # fmt: skip
def test_a_word_that_is_not_accepted(configured: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Named, with what is."""
    configured.setenv(f"READSIDE_{name}", value)

    assert refusal().startswith(f"READSIDE_{name} is wrong: ")


def test_any_accepted_number_can_be_used(configured: pytest.MonkeyPatch) -> None:
    """The greatest of each goes through all that is computed from it."""
    for name in ["MAX_STALENESS_SECONDS", "HEARTBEAT_SECONDS", "HOT_TTL_SECONDS"]:
        configured.setenv(f"READSIDE_{name}", "315360000")
    configured.setenv("READSIDE_HEARTBEAT_SECONDS", "315359999")
    for name in ["WINDOW_MB", "MAX_ANSWER_MB", "RESPONSE_CACHE_MB", "LETTERS_MAX_MB", "WAITING_MB", "MAX_CONNECTIONS"]:
        configured.setenv(f"READSIDE_{name}", "1000000")
    for name, value in {
        "MAX_HEAD_KB": "512",
        "MAX_BODY_KB": "512",
        "HEAD_SECONDS": "3600",
        "IDLE_SECONDS": "86400",
    }.items():
        configured.setenv(f"READSIDE_{name}", value)
    for name in ["WARM_LIMIT", "MAX_HOT_SESSIONS", "WINDOW_EVENTS", "FALLBACK_CONCURRENCY", "STATEMENT_CACHE_SIZE"]:
        configured.setenv(f"READSIDE_{name}", "1000000000")

    assert Settings().projector_config().window_bytes == 10**12
    assert Settings().api_config().sockets.waiting_bytes == 10**12


@pytest.mark.parametrize("build", [Settings.projector_config, Settings.api_config])
@pytest.mark.parametrize(("heartbeat", "staleness"), [("0.5", "0.5"), ("7", ""), ("", "0.25")])
def test_beats_farther_apart_than_the_view_may_be_old(
    configured: pytest.MonkeyPatch, build: Callable[[Settings], object], heartbeat: str, staleness: str
) -> None:
    """Every process that reads both refuses, and names both: a poll between two beats would always find it stale."""
    configured.setenv("READSIDE_HEARTBEAT_SECONDS", heartbeat)
    configured.setenv("READSIDE_MAX_STALENESS_SECONDS", staleness)

    with pytest.raises(ConfigurationError) as caught:
        build(Settings())
    assert str(caught.value) == (
        f"READSIDE_HEARTBEAT_SECONDS is {heartbeat or '0.5'} and READSIDE_MAX_STALENESS_SECONDS {staleness or '5'}: "
        "beats must be less far apart than the view may be old."
    )


@pytest.mark.parametrize("host", ["bücher.example", "\udcff", "a.example\r\nx: y", "a b"])
def test_an_origin_that_no_header_can_hold(configured: pytest.MonkeyPatch, host: str) -> None:
    """Browsers send names in ASCII; what else stands there would break each answer, or never be found."""
    configured.setenv("READSIDE_CORS_ORIGINS", f"https://{host}")

    assert refusal() == (
        f"READSIDE_CORS_ORIGINS holds {f'https://{host}'!r}, which is no origin such as https://a.example."
    )


@pytest.mark.parametrize("origin", ["a.example", "ftp://a.example", "https://", "https://a.example/path", "null"])
def test_an_origin_that_is_none(configured: pytest.MonkeyPatch, origin: str) -> None:
    """Shown, since it is no secret."""
    configured.setenv("READSIDE_CORS_ORIGINS", f"https://ok.example,{origin}")

    assert refusal().startswith(f"READSIDE_CORS_ORIGINS holds '{origin.rstrip('/')}'")


def test_origins(configured: pytest.MonkeyPatch) -> None:
    """Spaces and a last slash are forgiven."""
    configured.setenv("READSIDE_CORS_ORIGINS", " https://a.example/ , http://localhost:3000,")

    assert Settings().api_config().cors_origins == ("https://a.example", "http://localhost:3000")


@pytest.mark.parametrize("keys", ["", " ", ",", " , "])
def test_no_key_at_all(configured: pytest.MonkeyPatch, keys: str) -> None:
    """The API refuses to start open by mistake; the projector does not care."""
    configured.setenv("READSIDE_API_KEYS", keys)
    Settings().projector_config()

    assert refusal().startswith("READSIDE_API_KEYS holds no key: ")


def test_hot_standbys(configured: pytest.MonkeyPatch) -> None:
    """Between spaces, none by default."""
    assert Settings().api_config().replica_urls == ()
    configured.setenv("READSIDE_REPLICA_URLS", "  postgresql://db2/shop   postgres://db3:5433/shop ")
    assert Settings().api_config().replica_urls == ("postgresql://db2/shop", "postgres://db3:5433/shop")


@pytest.mark.parametrize(
    ("urls", "sentence"),
    [
        ("postgresql://db2/shop redis://db3", "READSIDE_REPLICA_URLS must begin with "),
        ("postgresql://db2/shop,postgresql://db3/shop", "READSIDE_REPLICA_URLS cannot be read: "),
        ("postgresql://db2:0/shop", "READSIDE_REPLICA_URLS cannot be read: "),
        (f"postgresql://a:{SECRET}@db2/shop postgresql://db2/shop", "READSIDE_REPLICA_URLS names db2 twice: "),
        (f"postgresql://a:{SECRET}@db2,db3/shop", "READSIDE_REPLICA_URLS has several hosts in one URL: "),
        (
            "postgresql://db2/shop?target_session_attrs=read-write",
            "READSIDE_REPLICA_URLS has target_session_attrs=read-write in a URL: ",
        ),
    ],
)
def test_a_standby_that_cannot_be_one(configured: pytest.MonkeyPatch, urls: str, sentence: str) -> None:
    """The API does not start, and doctor says the same; nothing of the URL is shown but its host."""
    configured.setenv("READSIDE_REPLICA_URLS", urls)

    assert refusal().startswith(sentence)
    assert [rule.startswith(sentence) for rule in Settings().broken_rules()] == [True]


FILED = ["DATABASE_URL", "REPLICA_URLS", "LISTEN_URL", "REDIS_URL", "API_KEYS", "JWT_SECRET"]
TEXTS = {
    "DATABASE_URL": DATABASE_URL,
    "REPLICA_URLS": f"postgresql://app:{SECRET}@db2/shop\npostgresql://app:{SECRET}@db3/shop",
    "LISTEN_URL": f"postgresql://app:{SECRET}@direct/shop",
    "REDIS_URL": REDIS_URL,
    "API_KEYS": f'[{{"name": "dash", "key": "{KEY}"}}]',
    "JWT_SECRET": f"{SECRET * 5}\n{SECRET * 6}",
}


@pytest.fixture
def files(configured: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Path]:
    """A file for each secret, named in place of the variable."""
    made = {name: tmp_path / name.lower() for name in FILED}
    for name, path in made.items():
        path.write_text(TEXTS[name] + "\n")
        configured.delenv(f"READSIDE_{name}", raising=False)
        configured.setenv(f"READSIDE_{name}_FILE", str(path))
    return made


def test_secrets_from_files(files: dict[str, Path]) -> None:
    """Each is what the variable would be; the API is told which files may change."""
    settings = Settings()
    projector, api = settings.projector_config(), settings.api_config()

    assert (projector.database_url, projector.redis_url, projector.listen_url) == tuple(
        TEXTS[name] for name in ("DATABASE_URL", "REDIS_URL", "LISTEN_URL")
    )
    assert list((api.keys or {}).values()) == [("dash", frozenset({"read"}))]
    assert api.tokens is not None
    assert api.tokens.secrets == ((SECRET * 5).encode(), (SECRET * 6).encode())
    assert api.replica_urls == tuple(TEXTS["REPLICA_URLS"].split())
    assert (api.keys_file, api.secrets_file) == (files["API_KEYS"], files["JWT_SECRET"])
    assert settings.secret_files() == {f"READSIDE_{name}_FILE": path for name, path in files.items()}


def test_secrets_from_files_are_masked(files: dict[str, Path]) -> None:
    """Like those of variables; nothing shows them either."""
    settings = Settings()

    assert {SECRET, KEY, SECRET * 5, SECRET * 6} == set(settings.secrets())
    for shown in (settings, settings.projector_config(), settings.api_config()):
        assert SECRET not in f"{shown!r} {shown}"
        assert KEY not in f"{shown!r} {shown}"


def test_files_that_are_named_relative(files: dict[str, Path], configured: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The place is fixed at the start."""
    configured.chdir(tmp_path)
    configured.setenv("READSIDE_API_KEYS_FILE", "api_keys")

    assert Settings().api_config().keys_file == files["API_KEYS"]


@pytest.mark.parametrize("name", FILED)
def test_a_secret_and_its_file(files: dict[str, Path], configured: pytest.MonkeyPatch, name: str) -> None:
    """Which one is meant? Both are named."""
    configured.setenv(f"READSIDE_{name}", TEXTS[name])

    assert refusal() == f"READSIDE_{name} and READSIDE_{name}_FILE are both set: set one of them."


@pytest.mark.parametrize("name", FILED)
def test_a_file_of_a_secret_that_is_gone(files: dict[str, Path], name: str) -> None:
    """Told by whoever wants it, with setting and file."""
    files[name].unlink()

    assert refusal() == f"READSIDE_{name}_FILE ({files[name]}) cannot be read: no such file or directory."


@pytest.mark.parametrize("name", ["API_KEYS", "JWT_SECRET"])
def test_a_file_that_the_projector_does_not_need(files: dict[str, Path], name: str) -> None:
    """It may be mounted for the API alone."""
    files[name].unlink()

    assert Settings().projector_config().database_url == DATABASE_URL


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("DATABASE_URL", f"mysql://app:{SECRET}@h", "READSIDE_DATABASE_URL_FILE must begin with "),
        ("API_KEYS", "[]", "READSIDE_API_KEYS_FILE holds no key: "),
        ("API_KEYS", f"dash:{SECRET}", "READSIDE_API_KEYS_FILE is not JSON: "),
        ("JWT_SECRET", SECRET, "READSIDE_JWT_SECRET_FILE holds a secret of 7 bytes; "),
    ],
)
def test_a_file_that_holds_something_else(
    files: dict[str, Path], configured: pytest.MonkeyPatch, name: str, text: str, told: str
) -> None:
    """The file's variable is named."""
    files[name].write_text(text)
    if text == "[]":
        configured.delenv("READSIDE_JWT_SECRET_FILE")  # whose tokens would be asked for

    assert refusal().startswith(told)


def test_no_file_is_watched_where_no_key_is_asked(files: dict[str, Path], configured: pytest.MonkeyPatch) -> None:
    """`AUTH=none` stays what it is."""
    configured.setenv("READSIDE_AUTH", "none")
    api = Settings().api_config()

    assert (api.keys, api.keys_file, api.secrets_file) == (None, None, None)


def test_a_child_that_is_given_a_secret(configured: pytest.MonkeyPatch) -> None:
    """It does not find our file beside it."""
    configured.setenv("READSIDE_REDIS_URL_FILE", "/run/secrets/redis")
    environment = child_environment({"REDIS_URL": REDIS_URL})

    assert (environment["READSIDE_REDIS_URL"], environment.get("READSIDE_REDIS_URL_FILE")) == (REDIS_URL, None)


def test_no_key_on_purpose(configured: pytest.MonkeyPatch) -> None:
    """`AUTH=none` asks for none."""
    configured.delenv("READSIDE_API_KEYS")
    configured.setenv("READSIDE_AUTH", "none")

    assert Settings().api_config().keys is None


@pytest.mark.parametrize("auth", ["none", "none-on-purpose"])
def test_no_key_for_every_page(configured: pytest.MonkeyPatch, auth: str) -> None:
    """Refused in either form."""
    configured.setenv("READSIDE_AUTH", auth)
    configured.setenv("READSIDE_CORS_ORIGINS", "https://a.example, *")

    assert refusal().startswith(f"READSIDE_CORS_ORIGINS=* with READSIDE_AUTH={auth} ")


def test_hosts_that_requests_may_be_for(configured: pytest.MonkeyPatch) -> None:
    """As browsers name them."""
    configured.setenv("READSIDE_ALLOWED_HOSTS", " API.a.example., *.b.example,127.0.0.1,[::1] ,0:0::1,localhost,x_y,")

    assert Settings().api_config().allowed_hosts == (
        *("api.a.example", "*.b.example", "127.0.0.1", "[::1]", "[::1]", "localhost", "x_y"),
    )


@pytest.mark.parametrize(
    "host",
    [
        "a.example:80",
        "https://a.example",
        "a.*.example",
        "*",
        "*a.example",
        "a b",
        "é.example",
        "[::1]:80",
        ".",
        "a..b",
    ],
)
def test_a_host_that_is_none(configured: pytest.MonkeyPatch, host: str) -> None:
    """Shown, since it is no secret."""
    configured.setenv("READSIDE_ALLOWED_HOSTS", f"ok.example,{host}")

    assert refusal().startswith(f"READSIDE_ALLOWED_HOSTS holds {host!r}, ")


def test_hosts_where_no_key_is_asked(configured: pytest.MonkeyPatch) -> None:
    """Loopback's own, since a browser's page could reach it by another name; others only where that is said."""
    configured.setenv("READSIDE_AUTH", "none")
    own = Settings().api_config().allowed_hosts
    configured.setenv("READSIDE_ALLOWED_HOSTS", "a.example")
    named = Settings().api_config().allowed_hosts
    configured.setenv("READSIDE_ALLOWED_HOSTS", "")
    configured.setenv("READSIDE_AUTH", "none-on-purpose")

    assert (own, named) == (("localhost", "127.0.0.1", "[::1]"), ("a.example",))
    assert Settings().api_config().allowed_hosts == ()


def test_how_much_one_may_ask(configured: pytest.MonkeyPatch) -> None:
    """Any number where nothing is set; less than one a second is a number too."""
    unset = Settings().api_config().polls_per_second
    configured.setenv("READSIDE_POLLS_PER_SECOND", "0.5")

    assert (unset, Settings().api_config().polls_per_second) == (None, 0.5)


@pytest.mark.parametrize("rate", ["1e-320", "0.0001"])
def test_a_rate_that_nobody_means(configured: pytest.MonkeyPatch, rate: str) -> None:
    """Of the smallest numbers the reciprocal is no number, and would bound nothing."""
    configured.setenv("READSIDE_POLLS_PER_SECOND", rate)

    assert refusal().startswith("READSIDE_POLLS_PER_SECOND is wrong: Input should be greater than or equal to 0.001")


def test_nothing_shows_a_secret(configured: pytest.MonkeyPatch) -> None:
    """Neither settings nor configs, should one end up in a log line or a traceback."""
    settings = Settings()
    for shown in (settings, settings.projector_config(), settings.api_config()):
        for secret in (SECRET, KEY):
            assert secret not in repr(shown)
            assert secret not in str(shown)


def test_other_variables_are_nobodys(configured: pytest.MonkeyPatch) -> None:
    """A variable of a newer version, or a misspelt one, stops nothing."""
    configured.setenv("READSIDE_TEST_POSTGRES_BIN", "/usr/lib")

    _build()
