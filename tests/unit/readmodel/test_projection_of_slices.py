"""How a projection of several slices is: as old as its oldest slice, as well as its worst."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

import readmodel.view.look as looking
from readmodel.errors import ServiceError, ViewUnavailable
from readmodel.redis.client import connect
from readmodel.values.freshness import rfc3339
from readmodel.view.keys import Keys
from readmodel.view.look import Look, ReportHash, SliceLook
from readmodel.view.projection import Bounds, Projection, judge_all, newest_reports, read_projection
from readmodel.view.reader import Position
from readmodel.view.whole import WholeView
from tests.fakes.redis import fake_redis
from tests.support.several_servers import SeveralServers

NOON = 1_768_314_600_000_000
COUNT = 4
VERSION = Keys("readside", slices=COUNT).version
POSITION = Position("t", 7, live=True, as_of_us=NOON, lag_us=120_999, version=VERSION, database="1/2")
LIVE = SliceLook(POSITION, 3, None)
LEADER: dict[str, Any] = {"id": "a", "role": "leader", "reason": None, "started_at": "2026-01-01"}
EMPTY = "The view is empty: the projector has not begun it yet."
AWAY = ViewUnavailable("Redis at b does not answer: refused.")


def judged(
    changes: dict[int, SliceLook | ServiceError], leader: dict[str, Any] | None = LEADER, count: int = COUNT
) -> Projection:
    """Judge slices that are live but for these."""
    slices = {index: changes.get(index, LIVE) for index in range(count)}
    reports = {} if leader is None else {"a": orjson.dumps({**leader, "reported_at_us": NOON})}
    return judge_all(Look(slices, [ReportHash(reports, NOON)]), ["a:1", "b:2"] * (count // 2), Bounds(5.0, "", VERSION))


def at(**changes: Any) -> SliceLook:
    """A slice whose position has these."""
    return replace(LIVE, position=replace(POSITION, **changes))


def test_all_slices_are_live() -> None:
    """Nothing is said, and each is told of."""
    projection = judged({})

    assert (projection.status, projection.reason, projection.leader) == (
        "live",
        None,
        {**LEADER, "reported_at_us": NOON},
    )
    assert (projection.hot_sessions, projection.database, projection.writable) == (12, "1/2", True)
    assert (projection.term, projection.batch) == (None, None)
    assert [(one.slice, one.node, one.status, one.hot_sessions) for one in projection.slices] == [
        (0, "a:1", "live", 3),
        (1, "b:2", "live", 3),
        (2, "a:1", "live", 3),
        (3, "b:2", "live", 3),
    ]
    assert {(one.term, one.batch) for one in projection.slices} == {("t", 7)}


def test_the_view_is_as_old_as_its_oldest_slice() -> None:
    """As-of and lag may be those of different slices: one server's beat takes longer."""
    projection = judged({1: at(as_of_us=NOON - 2_000_000), 2: at(lag_us=3_000_000)})

    assert projection.status == "live"
    assert (projection.as_of, projection.lag_ms) == (rfc3339(NOON - 2_000_000), 3000)


def test_slices_whose_server_is_away_are_named() -> None:
    """How many of how many, and which; what the others hold is counted."""
    projection = judged({1: AWAY, 3: AWAY})

    assert projection.status == "down"
    assert projection.reason == f"2 of 4 slices are away (1, 3): {AWAY}"
    assert (projection.hot_sessions, projection.writable) == (6, True)
    assert (projection.slices[1].status, projection.slices[1].reason) == ("down", str(AWAY))
    assert [one.status for one in projection.slices[::2]] == ["live", "live"]


def test_of_a_slice_that_is_away_the_leader_knows_how_old_it_is() -> None:
    """The whole is as old as that; where nobody knows, nothing is claimed."""
    said = {"slice": 1, "state": "waiting", "as_of": rfc3339(NOON - 60_000_000), "as_of_age_ms": 60_000}
    known, unknown = judged({1: AWAY}, {**LEADER, "slices": [said]}), judged({1: AWAY})

    assert (known.as_of, known.lag_ms) == (rfc3339(NOON - 60_000_000), 60_000)
    assert (unknown.as_of, unknown.lag_ms) == (None, None)


def test_a_slice_that_the_leader_finds_live_is_no_older_than_all() -> None:
    """It is away from here alone: the leader tells of those that are not live."""
    projection = judged({1: AWAY}, {**LEADER, "slices": [], "as_of": rfc3339(NOON - 500_000), "as_of_age_ms": 500})

    assert (projection.slices[1].as_of, projection.slices[1].lag_ms) == (rfc3339(NOON - 500_000), 500)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (at(live=False), "1 of 4 slices catches up (2): The projector compares the hot sessions with Postgres."),
        (at(lag_us=61_250_000), "1 of 4 slices is stale (2): No heartbeat came through the pipe for 61.2 s."),
        (SliceLook(POSITION, 0, "Redis at b is read-only."), "1 of 4 slices is down (2): Redis at b is read-only."),
        (
            SliceLook(None, 0, None),
            "1 of 4 slices catches up (2): " + EMPTY,
        ),
    ],
    ids=["in doubt", "old", "read-only", "empty"],
)
def test_the_worst_slice_is_the_views_state(changed: SliceLook, reason: str) -> None:
    """Whatever is the matter with it."""
    assert judged({2: changed}).reason == reason


def test_the_worst_of_several_states_is_told() -> None:
    """A slice that is away hides one that catches up."""
    projection = judged({0: at(live=False), 1: at(lag_us=9_000_000), 2: at(lag_us=9_000_000)})

    assert (projection.status, str(projection.reason)[:40]) == ("stale", "2 of 4 slices are stale (1, 2): No heart")


def test_what_the_leader_says_of_a_slice_is_told() -> None:
    """That one waits; the others are as they were."""
    said = {"slice": 3, "state": "waiting", "reason": "Redis at b is slow."}
    projection = judged({}, {**LEADER, "state": "live", "slices": [said, "no slice", {"slice": "3"}, {"slice": [3]}]})

    assert (projection.status, projection.reason) == ("stale", "1 of 4 slices is stale (3): Redis at b is slow.")
    assert [one.status for one in projection.slices] == ["live", "live", "live", "stale"]


def test_many_slices_are_not_all_named() -> None:
    """A sentence stays one."""
    projection = judged(dict.fromkeys(range(2, 32), AWAY), count=32)

    assert str(projection.reason).startswith("30 of 32 slices are away (2, 3, 4, 5, 6, 7, 8, 9 and 22 more): ")


def test_what_is_no_matter_of_slices_is_said_without_them() -> None:
    """Nobody leads: each slice would say so."""
    projection = judged({}, None)

    assert projection.reason == "No projector leads: none has reported in the last five seconds."


def test_another_number_of_slices_is_said_first() -> None:
    """By name, though the other slices of ours are merely not there."""
    empty = SliceLook(None, 0, None)
    projection = judged({0: at(version="4/32"), 1: empty, 2: empty, 3: empty})

    assert projection.status == "down"
    assert projection.reason == (
        "The view is of another READSIDE_SLICES: the view has 32, and this process is set to 4. "
        "All processes of a deployment need the same number."
    )


def test_no_report_can_be_read() -> None:
    """Then nobody says that none leads: it is not known."""
    slices: dict[int, SliceLook | ServiceError] = {0: AWAY, 1: AWAY, 2: AWAY, 3: LIVE}
    projection = judge_all(Look(slices), ["a"] * COUNT, Bounds(5.0, "", VERSION))

    assert projection.reason == f"3 of 4 slices are away (0, 1, 2): {AWAY}"
    assert (projection.leader, projection.slices[3].status) == (None, "live")


def test_the_newest_report_of_each_process_counts() -> None:
    """By the clock of the server that holds it: one is an hour ahead of the other."""
    hour = 3_600_000_000
    here = {"a": orjson.dumps({"id": "old", "reported_at_us": NOON - 4_000_000, "started_at": "1"})}
    there = {
        "a": orjson.dumps({"id": "new", "reported_at_us": NOON + hour - 1_000_000, "started_at": "1"}),
        "b": orjson.dumps({"id": "b", "reported_at_us": NOON + hour, "started_at": "0"}),
        "dead": orjson.dumps({"id": "dead", "reported_at_us": NOON, "started_at": "0"}),
    }
    reports = newest_reports([ReportHash(here, NOON), ReportHash(there, NOON + hour)], 5.0)

    assert [(report.told["id"], report.age_us) for report in reports] == [("b", 0), ("new", 1_000_000)]


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
async def views(silent: int) -> AsyncIterator[WholeView]:
    """Eight slices on two servers, of which the second, which has the first slice, never answers."""
    servers = SeveralServers([fake_redis(), connect(f"redis://127.0.0.1:{silent}", name="test")])
    yield WholeView(servers, "readside", 8)
    await servers.aclose()


async def begin(view: WholeView, client: Redis) -> None:
    """A live position in every slice that is on this server, and a leader's report."""
    made: Any = client
    for part in (part for part in view.parts if part.redis is client):
        position = {"term": "t", "n": 1, "live": 1, "as_of": NOON, "as_of_at": await part.now_us()}
        await made.hset(part.keys.position, mapping={**position, "version": part.keys.version, "database": "1/2"})
        await made.zadd(part.keys.hot, {"x": 1})
    held = next(part for part in view.reporting if part.redis is client)
    report = {**LEADER, "reported_at_us": await held.now_us()}
    await made.hset(held.keys.projectors, "a", orjson.dumps(report))


async def test_a_server_that_never_answers_costs_its_slices_alone(
    views: WholeView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a bounded time."""
    monkeypatch.setattr(looking, "LOOK_SECONDS", 2.0)
    await begin(views, views.servers.client(0))
    async with asyncio.timeout(60):
        projection = await read_projection(views, 5.0)

    away = [one.slice for one in projection.slices if one.status == "down"]
    assert [one.node for one in projection.slices if one.slice in away] == ["server 1"] * 4
    assert str(projection.reason).startswith("4 of 8 slices are away (")
    assert str(projection.reason).endswith("does not answer within 2 s.")
    assert (projection.hot_sessions, projection.leader is not None) == (4, True)
    assert {one.status for one in projection.slices if one.slice not in away} == {"live"}


async def test_slices_of_a_server_share_a_round_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand of them do not cost a thousand."""
    client = fake_redis()
    view = WholeView(SeveralServers([client]), "readside", 64)
    await begin(view, client)
    sent: list[int] = []
    execute = Pipeline.execute

    async def counted(pipeline: Any, *words: Any, **how: Any) -> Any:
        sent.append(len(pipeline.command_stack))
        return await execute(pipeline, *words, **how)

    monkeypatch.setattr(Pipeline, "execute", counted)
    projection = await read_projection(view, 5.0)
    await client.aclose()

    assert (projection.status, len(projection.slices)) == ("live", 64)
    assert len(sent) == 1


async def test_a_slice_whose_keys_hold_other_data_is_down_alone() -> None:
    """Its own position, for one."""
    client: Any = fake_redis()
    view = WholeView(SeveralServers([client]), "readside", 8)
    await begin(view, client)
    await client.delete(view.parts[5].keys.position)
    await client.set(view.parts[5].keys.position, "other")
    projection = await read_projection(view, 5.0)
    await client.aclose()

    assert [one.slice for one in projection.slices if one.status != "live"] == [5]
    assert "holds other data under our prefix" in str(projection.reason)
