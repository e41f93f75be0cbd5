"""What the doctor makes of what it saw, where the real thing is hard to have: other clocks, networks, old servers."""

import pytest

from readmodel.view.projection import Projection
from readside.commands.doctor import judge_lead
from readside.inspection.clocks import TOLERATED_SECONDS, judge_clock
from readside.inspection.findings import Finding, State, exit_code, fine, problem, unknown, warning
from readside.inspection.of_postgres import judge_connections, judge_doorbell, judge_triggers
from readside.inspection.of_redis import judge_memory, judge_server, judge_view
from readside.inspection.of_settings import of_keys
from readside.inspection.transport import judge_postgres_tls, judge_redis_tls, stays_here
from readside.settings import Settings

LOCAL, AWAY = "postgresql://u:p@localhost/d", "postgresql://u:p@db.example:5432/d"


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([fine("a", "x")], 0),
        ([fine("a", "x"), warning("b", "x", "y")], 1),
        ([fine("a", "x"), problem("b", "x")], 1),
        ([problem("a", "x"), unknown("b", "x")], 2),
        ([fine("a", "x"), unknown("b", "x")], 2),
    ],
)
def test_the_exit_code_is_0_only_if_all_is_well(findings: list[Finding], code: int) -> None:
    """A warning is not well; what was not looked at is not known to be."""
    assert exit_code(findings) == code


@pytest.mark.parametrize(("port", "state"), [("8001", "ok"), ("", "problem")])
def test_a_projectors_settings_need_no_key(monkeypatch: pytest.MonkeyPatch, port: str, state: State) -> None:
    """A process that has its port is a projector, and can be told no secret of the API's."""
    for name in ("API_KEYS", "API_KEYS_FILE", "JWT_SECRET", "JWT_SECRET_FILE", "JWT_JWKS", "AUTH"):
        monkeypatch.delenv(f"READSIDE_{name}", raising=False)
    monkeypatch.setenv("READSIDE_PROJECTOR_PORT", port)
    found = of_keys(Settings())

    assert found.state == state
    assert "the API " in found.detail


@pytest.mark.parametrize(
    ("url", "here"),
    [
        (LOCAL, True),
        ("postgresql:///d", True),
        ("postgresql:///d?host=/run/postgresql", True),
        ("postgresql://%2Frun%2Fpostgresql/d", True),
        ("postgresql://u@127.0.0.9/d", True),
        ("postgresql://u@[::1]:5433/d", True),
        ("unix:///run/redis.sock", True),
        ("redis://:p@127.0.0.1:6379/0", True),
        (AWAY, False),
        ("postgresql://u@10.0.0.1/d", False),
        ("postgresql://u@[2001:db8::1]/d", False),
        ("postgresql://u@localhost,db.example/d", False),
        ("postgresql:///d?host=db.example", False),
        ("postgresql://u@localhost.example/d", False),
        ("postgresql://u:localhost@db.example/d", False),
    ],
)
def test_what_stays_on_this_machine(url: str, here: bool) -> None:
    """Every host that a URL names must be this one."""
    assert stays_here(url) is here


@pytest.mark.parametrize(
    ("url", "mode", "is_encrypted", "state", "words"),
    [
        (AWAY, None, False, "warning", "no sslmode, which is prefer, and falls back to plain text without a word"),
        (AWAY, "prefer", False, "warning", "sslmode=prefer, and falls back to plain text without a word"),
        (AWAY, "disable", False, "warning", "asks for sslmode=disable."),
        (AWAY, None, True, "warning", "the certificate is not checked"),
        (AWAY, "require", True, "warning", "the certificate is not checked"),
        (AWAY, "verify-full", True, "ok", "the server's certificate is checked"),
        (AWAY, "verify-ca", True, "ok", "the server's certificate is checked"),
        (LOCAL, None, False, "ok", "does not leave this machine"),
        (LOCAL, "require", True, "ok", "TLSv1.3 (sslmode=require)"),
    ],
)
def test_the_way_to_postgres(url: str, mode: str | None, is_encrypted: bool, state: State, words: str) -> None:
    """What was asked for, what came of it, and what to set."""
    version = "TLSv1.3" if is_encrypted else None
    found = judge_postgres_tls("database TLS", url, mode=mode, version=version)

    assert (found.state, words in found.detail) == (state, True), found
    assert (found.do is None) == (state == "ok")
    assert state == "ok" or "sslmode=verify-full" in str(found.do)


@pytest.mark.parametrize(
    ("peer", "state"),
    [(None, "ok"), ("127.0.0.1", "ok"), ("::1", "ok"), ("::ffff:127.0.0.1", "ok"), ("10.0.0.1", "warning")],
)
def test_a_url_without_a_host_leads_where_libpqs_variables_say(peer: str | None, state: State) -> None:
    """PGHOST, or a service: who answered is judged as well. None is a socket of this machine."""
    assert judge_postgres_tls("database TLS", "postgresql:///d", mode=None, version=None, peer=peer).state == state


@pytest.mark.parametrize(
    ("url", "is_encrypted", "is_verified", "state"),
    [
        ("redis://r.example/0", False, False, "warning"),
        ("rediss://r.example/0", True, False, "warning"),
        ("rediss://r.example/0", True, True, "ok"),
        ("redis://localhost/0", False, False, "ok"),
        ("rediss://localhost/0", True, False, "ok"),
    ],
)
def test_the_way_to_redis(url: str, is_encrypted: bool, is_verified: bool, state: State) -> None:
    """Plain text and unchecked certificates are for this machine alone."""
    found = judge_redis_tls("Redis TLS", url, (), is_encrypted=is_encrypted, is_verified=is_verified)

    assert found.state == state


@pytest.mark.parametrize("is_encrypted", [False, True])
@pytest.mark.parametrize("url", ["redis+sentinel://localhost/main", "redis+cluster://localhost,127.0.0.1:7001"])
def test_the_way_to_masters_that_others_name(url: str, is_encrypted: bool) -> None:
    """Sentinels and nodes of this machine may lead elsewhere."""
    states = [
        judge_redis_tls("Redis TLS", url, masters, is_encrypted=is_encrypted, is_verified=False).state
        for masters in (["127.0.0.1", "::1"], ["127.0.0.1", "10.0.0.1"])
    ]

    assert states == ["ok", "warning"]


@pytest.mark.parametrize(
    ("theirs", "state", "words"),
    [
        (100.0, "ok", "within"),
        (100.0 + TOLERATED_SECONDS, "ok", "within"),
        (99.0, "ok", "within"),
        (103.5, "warning", "3.0 s ahead of ours"),
        (90.0, "warning", "10.0 s behind ours"),
    ],
)
def test_clocks(theirs: float, state: State, words: str) -> None:
    """Read between 100 and 100.5: what lies between is no difference."""
    found = judge_clock("database clock", theirs, 100.0, 100.5)

    assert (found.state, words in found.detail) == (state, True), found


def test_prepared_transactions_and_the_doorbell() -> None:
    """They fail while it is on."""
    settings = Settings()

    assert judge_doorbell(settings, 0).state == "ok"
    assert judge_doorbell(settings, 5).state == "warning"
    assert judge_doorbell(settings.model_copy(update={"doorbell": "off"}), 5).state == "ok"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "10 of 97 are taken"),
        ({"taken": 90}, "max_connections of the server"),
        ({"role_limit": 5}, "connection limit of role reader"),
        ({"database_limit": 12}, "connection limit of database d"),
    ],
)
def test_room_for_our_connections(changes: dict[str, int], words: str) -> None:
    """Beside who is connected now, whichever bound comes first."""
    facts = {"role": "reader", "database": "d", "places": 97, "taken": 10, "role_limit": None, "taken_by_role": 2,
             "database_limit": None, "taken_of_database": 9, **changes}  # fmt: skip
    found = judge_connections(Settings(), facts)

    assert words in found.detail
    assert found.state == ("warning" if changes else "ok")


@pytest.mark.parametrize(
    ("version", "mode", "role", "words"),
    [
        ("7.0.15", "standalone", "master", None),
        ("8.2.3", "standalone", "master", None),
        ("6.2.14", "standalone", "master", "readside needs 7 or newer"),
        ("7.4.0", "cluster", "master", "is a cluster's"),
        ("7.4.0", "sentinel", "master", "is a sentinel's"),
        ("7.4.0", "standalone", "replica", "it takes no batches"),
    ],
)
def test_who_answers_for_redis(version: str, mode: str, role: str, words: str | None) -> None:
    """A primary by itself, of a version that we know."""
    found = judge_server("h:1/0", "redis", version, mode, role)

    assert found.state == ("ok" if words is None else "problem")
    assert (words or f"Redis {version} at h:1/0") in found.detail


def test_a_full_redis_that_evicts() -> None:
    """It is as it should be."""
    assert judge_memory(90_000_000, 100_000_000, "allkeys-lru").text == "90 MB of 100 MB, allkeys-lru"


@pytest.mark.parametrize(("status", "state"), [("live", "ok"), ("stale", "warning"), ("catching_up", "warning")])
def test_the_view(status: str, state: State) -> None:
    """As `readside status` has it."""
    projection = Projection(status, reason="It waits.", lag_ms=1, hot_sessions=2, leader={"host": "h"})  # type: ignore[arg-type]

    assert judge_view(projection).state == state


def test_who_leads() -> None:
    """It takes both stores to tell."""
    projection = Projection(
        "live", leader={"host": "h", "pid": 7}, standbys=({"role": "standby"}, {"role": "starting"})
    )

    assert judge_lead([], projection) == fine("lead", "h pid 7 leads; standing by: 1")
    assert judge_lead(None, projection).state == "unknown"
    assert judge_lead([], None).state == "unknown"
    assert judge_lead([], Projection("down")).state == "problem"


def test_partitions_that_are_told_of_row_by_row_are_a_warning() -> None:
    """All is seen, and costs more than it need; triggers that are wrong are a problem."""
    late = judge_triggers(None, ["public.a", "public.b", "public.c", "public.d"])

    assert (late.state, judge_triggers(None, []).state) == ("warning", "ok")
    assert "(public.a, public.b, public.c and 1 more)" in late.detail
    assert judge_triggers("The triggers are off.", ["public.a"]).text == "The triggers are off."
