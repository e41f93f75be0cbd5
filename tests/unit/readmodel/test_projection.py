"""How the projection is, judged from what Redis holds: each status and its reason."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import fakeredis
import orjson
import pytest

from readmodel.redis.client import connect
from readmodel.redis.servers import OneServer
from readmodel.values.event import ENCODING_VERSION
from readmodel.view.look import SliceLook
from readmodel.view.projection import (
    Bounds,
    FreshReport,
    Projection,
    fresh_reports,
    judge,
    old_reports,
    read_projection,
    sorted_out,
)
from readmodel.view.reader import Position
from readmodel.view.whole import WholeView

NOON = 1_768_314_600_000_000
POSITION = Position("t", 7, live=True, as_of_us=NOON, lag_us=120_999, version=ENCODING_VERSION, database="1/2")
LEADER: dict[str, Any] = {"id": "a", "role": "leader", "reason": None, "started_at": "2026-01-01"}
STANDBY: dict[str, Any] = {"id": "b", "role": "standby", "reason": None, "started_at": "2026-01-02"}


def judged(
    position: Position | None,
    hot_sessions: int,
    reports: list[dict[str, Any]],
    *bounds: Any,
    refusal: str | None = None,
    silent_us: int = 0,
) -> Projection:
    """Judge a view of one slice; each report is `silent_us` old."""
    told = sorted_out([FreshReport(report, silent_us) for report in reports])
    return judge(SliceLook(position, hot_sessions, refusal), told, Bounds(*bounds))


def test_live() -> None:
    """A leader, a position that is live, a small lag: no reason is needed."""
    projection = judged(POSITION, 3, [LEADER, STANDBY], 5.0)

    assert (projection.status, projection.reason) == ("live", None)
    assert (projection.as_of, projection.lag_ms) == ("2026-01-13T14:30:00.000000Z", 120)
    assert (projection.hot_sessions, projection.term, projection.batch, projection.database) == (3, "t", 7, "1/2")
    assert (projection.leader, projection.standbys) == (LEADER, (STANDBY,))


def test_nobody_leads() -> None:
    """Without a leader the view does not move, however fresh it looks."""
    projection = judged(POSITION, 3, [], 5.0)

    assert projection.status == "down"
    assert projection.reason == "No projector leads: none has reported in the last five seconds."
    assert projection.lag_ms == 120


def test_a_projector_that_waits_says_why() -> None:
    """A projector that cannot lead tells what keeps it, and how to mend it."""
    waiting = {**STANDBY, "role": "starting", "reason": "The triggers are not installed; run `readside install`."}
    projection = judged(None, 0, [STANDBY, waiting], 5.0)

    assert (projection.status, projection.reason) == ("down", waiting["reason"])
    assert projection.standbys == (STANDBY, waiting)
    assert (projection.as_of, projection.lag_ms, projection.term, projection.batch) == (None, None, None, None)


def test_an_empty_view_is_catching_up() -> None:
    """A leader that has not begun yet, or a Redis just flushed."""
    assert judged(None, 0, [LEADER], 5.0).status == "catching_up"
    assert "has not begun" in str(judged(None, 0, [LEADER], 5.0).reason)


def test_a_view_in_doubt_is_catching_up() -> None:
    """A term has begun and no beat was applied: the old as-of stays, and is not live."""
    projection = judged(replace(POSITION, live=False), 3, [{**LEADER, "reason": "A new term begins: x."}], 5.0)

    assert (projection.status, projection.reason) == ("catching_up", "A new term begins: x.")
    assert projection.as_of == "2026-01-13T14:30:00.000000Z"
    assert "compares" in str(judged(replace(POSITION, live=False), 3, [LEADER], 5.0).reason)


@pytest.mark.parametrize(
    ("lag_us", "status"), [(0, "live"), (5_000_000, "live"), (5_000_001, "stale"), (None, "stale")]
)
def test_stale_past_the_bound(lag_us: int | None, status: str) -> None:
    """At the bound it is live, past it stale; a lag that nobody knows is no small one."""
    assert judged(replace(POSITION, lag_us=lag_us), 0, [LEADER], 5.0).status == status


def test_stale_says_for_how_long() -> None:
    """Or what the leader itself says."""
    late = replace(POSITION, lag_us=61_250_000)

    assert judged(late, 0, [LEADER], 5.0).reason == "No heartbeat came through the pipe for 61.2 s."
    assert judged(late, 0, [{**LEADER, "reason": "Postgres is away."}], 5.0).reason == "Postgres is away."
    assert "a while" in str(judged(replace(POSITION, lag_us=None), 0, [LEADER], 5.0).reason)


def test_another_version_is_down() -> None:
    """A view written in another way is never read, so it answers nothing."""
    projection = judged(replace(POSITION, version="0"), 0, [LEADER], 5.0)

    assert projection.status == "down"
    assert "version 0" in str(projection.reason)


def test_the_view_of_version_0_1_is_refused_by_name() -> None:
    """Its encoding was 2, and it reads no other, as this version does not read that one."""
    projection = judged(replace(POSITION, version="2"), 0, [LEADER], 5.0)

    assert projection.status == "down"
    assert projection.reason == "The view is of version 2, and this program reads version 4."


def test_the_view_of_another_database_is_down() -> None:
    """For who is told which database it must be of; nothing else is known of it."""
    projection = judged(POSITION, 0, [LEADER], 5.0, "1/3")

    assert projection.status == "down"
    assert "another database (1/2) than READSIDE_DATABASE_URL leads to (1/3)" in str(projection.reason)
    assert judged(POSITION, 0, [LEADER], 5.0, "1/2").status == "live"


def test_of_two_leaders_the_younger_counts() -> None:
    """A frozen leader's last report may still be fresh when another has taken over."""
    young = {**LEADER, "id": "c", "started_at": "2026-01-03"}
    reports = fresh_reports({"c": _raw(young), "a": _raw(LEADER)}, NOON)

    assert judged(POSITION, 0, reports, 5.0).leader == reports[-1]
    assert judged(POSITION, 0, reports, 5.0).standbys == (reports[0],)


def test_old_and_foreign_reports_are_passed_over() -> None:
    """A dead projector's, another version's, and whatever else lies in the hash."""
    raws = {
        "young": _raw({**LEADER, "id": "young"}),
        "edge": _raw({**LEADER, "id": "edge"}, age_us=5_000_000),
        "old": _raw(LEADER, age_us=5_000_001),
        "no instant": b"{}",
        "no object": b"[1]",
        "a number": b"5",
        "null": b"null",
        "text": b'{"reported_at_us": "yesterday"}',
        "no JSON": b"\xff",
    }

    assert {report["id"] for report in fresh_reports(raws, NOON)} == {"young", "edge"}
    assert set(old_reports(raws, NOON, 5.0)) == raws.keys() - {"young", "edge"}


def test_json_has_every_field() -> None:
    """For machines: the fields are there whatever the status is."""
    assert judged(None, 0, [], 5.0).as_json().keys() == judged(POSITION, 1, [LEADER], 5.0).as_json().keys()
    assert orjson.dumps(judged(POSITION, 1, [LEADER, STANDBY], 5.0).as_json())


@pytest.fixture
async def view() -> AsyncIterator[WholeView]:
    """An empty view over the fake Redis."""
    redis = fakeredis.FakeAsyncRedis()
    yield WholeView(OneServer(redis), "readside")
    await redis.aclose()


async def test_an_empty_redis_is_down(view: WholeView) -> None:
    """Nobody has ever been here."""
    projection = await read_projection(view, 5.0)

    assert (projection.status, projection.hot_sessions) == ("down", 0)


async def test_api_processes_are_shown_for_ten_seconds(view: WholeView) -> None:
    """By Redis' clock, the oldest process first; not where nobody asks for them."""
    (part,) = view.parts
    now_us = await part.now_us()
    for name, started_at, age_us in (("b", "2026-01-02", 0), ("a", "2026-01-01", 9_000_000), ("c", "", 11_000_000)):
        report = {"id": name, "started_at": started_at, "reported_at_us": now_us - age_us}
        await part.redis.hset(part.keys.apis, name, orjson.dumps(report))

    assert [report["id"] for report in (await read_projection(view, 5.0)).apis] == ["a", "b"]
    assert (await read_projection(view, 5.0, with_apis=False)).apis == ()


async def test_a_redis_that_is_away_is_down() -> None:
    """No error is raised: the sentence says who does not answer."""
    redis = connect("redis://:secret@127.0.0.1:1/3", name="test")
    projection = await read_projection(WholeView(OneServer(redis), "readside"), 5.0)
    await redis.aclose()

    assert projection.status == "down"
    assert str(projection.reason).startswith("Redis at 127.0.0.1:1/3 does not answer: ")
    assert projection.hot_sessions is None


async def test_a_redis_with_other_data_is_down(view: WholeView) -> None:
    """Keys of ours that hold something else are named, not raised."""
    (part,) = view.parts
    await part.redis.set(part.keys.position, "mine")
    projection = await read_projection(view, 5.0)

    assert projection.status == "down"
    assert "holds other data" in str(projection.reason)


def _raw(report: dict[str, Any], age_us: int = 0) -> bytes:
    return orjson.dumps({**report, "reported_at_us": NOON - age_us})


def test_a_redis_that_takes_no_writes_is_down() -> None:
    """Whatever the last report says: nobody can write another."""
    projection = judged(POSITION, 3, [LEADER], 5.0, refusal="Redis at h is read-only.")

    assert (projection.status, projection.reason) == ("down", "Redis at h is read-only.")
    assert (projection.writable, projection.leader) == (False, LEADER)
    assert judged(POSITION, 3, [LEADER], 5.0).writable is True
    assert judged(POSITION, 3, [], 5.0, refusal="Redis at h is read-only.").reason == "Redis at h is read-only."


def test_a_leader_that_waits_for_a_store_is_stale() -> None:
    """It says so itself, before the lag shows it."""
    waiting = {**LEADER, "state": "waiting", "reason": "No heartbeat."}

    assert judged(POSITION, 3, [waiting], 5.0).status == "stale"
    assert judged(POSITION, 3, [waiting], 5.0).reason == "No heartbeat."


@pytest.mark.parametrize(
    ("silent_us", "lag_us", "status"),
    [(2_000_001, 2_000_001, "stale"), (2_000_001, 90_000, "live"), (0, 4_000_000, "live")],
)
def test_a_leader_that_is_silent_while_as_of_stands_still(silent_us: int, lag_us: int, status: str) -> None:
    """One of the two alone is no sign: reports may be late, and beats rare."""
    silent = {**LEADER, "reported_at_us": NOON}
    projection = judged(replace(POSITION, lag_us=lag_us), 3, [silent], 5.0, silent_us=silent_us)

    assert projection.status == status
    assert (projection.reason is None) == (status == "live")


@pytest.mark.parametrize(("lag_us", "status"), [(2_000_001, "catching_up"), (90_000, "live")])
def test_a_leader_that_catches_up_while_as_of_grows_old(lag_us: int, status: str) -> None:
    """It has just taken the lead of a view that was live; for a moment that is nothing to be told."""
    leader = {**LEADER, "state": "catching_up", "reported_at_us": NOON}
    projection = judged(replace(POSITION, lag_us=lag_us), 3, [leader], 5.0)

    assert projection.status == status
    assert (projection.reason is None) == (status == "live")


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ("standby", "one stands by, and takes over when the lead is free"),
        ("starting", "one has started, and has not the lead yet"),
    ],
)
def test_nobody_leads_though_somebody_reports(role: str, words: str) -> None:
    """It is not said that none has reported."""
    projection = judged(None, 0, [{"role": role}], 5.0)

    assert (projection.status, projection.reason) == ("down", f"No projector leads: {words}.")
