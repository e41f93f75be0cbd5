"""What a projector reports, and what it takes over from those that have ended."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import fakeredis
import orjson
import pytest
import structlog

from projector.report import LAST_ERRORS, Reporter
from projector.telemetry import MAX_ERRORS, SliceTelemetry, Telemetry
from readmodel.redis.client import connect
from readmodel.view.keys import Keys
from readmodel.view.projection import FRESH_REPORT_SECONDS, fresh_reports
from readmodel.view.reader import ViewReader
from readmodel.view.slices import Slices
from tests.support.waiting import eventually

KEYS = Keys("readside")
NOON = 1_768_314_600_000_000
AT = "2026-01-13T14:30:00.000000Z"
LONG_AGO_US = int((FRESH_REPORT_SECONDS + 1) * 1_000_000)


@pytest.fixture
async def redis() -> AsyncIterator[Any]:
    """A Redis in memory."""
    made = fakeredis.FakeAsyncRedis()
    yield made
    await made.aclose()


def projector(redis: Any, *errors: tuple[int, str], role: Any = "leader") -> Reporter:
    """A process that had these errors."""
    telemetry = Telemetry(role=role)
    telemetry.inherit_errors(errors)
    return Reporter([ViewReader(redis, KEYS)], telemetry)


async def told(redis: Any, reporter: Reporter) -> list[dict[str, str]]:
    """The errors that it reports, once it does."""
    await reporter.write(ViewReader(redis, KEYS))
    report: dict[str, Any] = orjson.loads(await redis.hget(KEYS.projectors, reporter.id))
    errors: list[dict[str, str]] = report["errors"]
    return errors


async def killed(redis: Any, reporter: Reporter, ago_us: int = LONG_AGO_US) -> None:
    """Leave its last report as old as that."""
    seconds, micros = await redis.time()
    report = reporter.report(seconds * 1_000_000 + micros - ago_us)
    await redis.hset(KEYS.projectors, reporter.id, orjson.dumps(report))


async def test_the_next_leader_tells_the_errors_of_one_that_was_killed(redis: Any) -> None:
    """With the instants at which they came."""
    await killed(redis, projector(redis, (NOON, "The connection was lost.")))

    assert await told(redis, projector(redis)) == [{"at": AT, "text": "The connection was lost."}]


async def test_the_next_leader_tells_the_errors_of_one_that_ended_in_order(redis: Any) -> None:
    """Its report is gone at once, and nobody takes it for alive."""
    before = projector(redis, (NOON, "The connection was lost."))
    await told(redis, before)
    await before.leave()
    left = await redis.hgetall(KEYS.projectors)

    assert list(left) == [LAST_ERRORS.encode()]
    assert fresh_reports({name.decode(): raw for name, raw in left.items()}, NOON) == []
    assert await told(redis, projector(redis)) == [{"at": AT, "text": "The connection was lost."}]
    assert await redis.hget(KEYS.projectors, LAST_ERRORS) is None


async def test_errors_go_from_leader_to_leader(redis: Any) -> None:
    """The newest first, and no more than a report tells."""
    await projector(redis, *((NOON + n, f"error {n}") for n in range(3))).leave()
    await projector(redis, *((NOON + n, f"error {n}") for n in range(3, 6))).leave()
    errors = await told(redis, projector(redis, (NOON + 6, "error 6")))

    assert [error["text"] for error in errors] == [f"error {n}" for n in range(6, 6 - MAX_ERRORS, -1)]


async def test_restarts_without_a_leader_leave_one_field(redis: Any) -> None:
    """A projector that ends at once, again and again, must not fill Redis."""
    for number in range(50):
        await projector(redis, (NOON + number, f"error {number}"), role="starting").leave()

    assert await redis.hlen(KEYS.projectors) == 1


async def test_the_errors_of_a_living_standby_stay_its_own(redis: Any) -> None:
    """It tells them itself."""
    await killed(redis, projector(redis, (NOON, "The connection was lost."), role="standby"), ago_us=0)

    assert await told(redis, projector(redis)) == []


@pytest.mark.parametrize(
    "report", [b"", b"[]", b"{", b'{"errors": 1}', b'{"errors": [1]}', b'{"errors": [{"at": "noon", "text": "x"}]}']
)
async def test_a_report_of_another_version_is_nobodys_outage(redis: Any, report: bytes) -> None:
    """It is cleared away, and says nothing."""
    await redis.hset(KEYS.projectors, "old", report)
    reporter = projector(redis)

    assert await told(redis, reporter) == []
    assert await redis.hkeys(KEYS.projectors) == [reporter.id.encode()]


async def test_a_report_goes_on_telling_what_it_took_over(redis: Any) -> None:
    """After the dead one's is cleared away too; a repetition takes the place of what it repeats."""
    await killed(redis, projector(redis, (NOON, "The connection was lost.")))
    reporter = projector(redis)
    await told(redis, reporter)
    reporter._telemetry.note_error("The connection was lost.")
    again = await told(redis, reporter)
    await redis.delete(KEYS.projectors)

    assert again == await told(redis, reporter)
    assert [error["text"] for error in again] == ["The connection was lost."]
    assert again[0]["at"] > AT


def slices(redis: Any, count: int) -> list[ViewReader]:
    """The slices that hold the reports of a view of so many."""
    made = Slices("readside", count=count)
    return [ViewReader(redis, made.keys[index]) for index in made.reporting]


def reported(raw: dict[bytes, bytes], reporter: Reporter) -> dict[str, Any]:
    """What lies in a hash of it."""
    report: dict[str, Any] = orjson.loads(raw[reporter.id.encode()])
    return report


async def test_one_slice_adds_nothing_to_the_report(redis: Any) -> None:
    """It is as it always was."""
    told_of_slices = {"slices", "slices_count", "as_of_age_ms"}

    assert not told_of_slices & projector(redis).report(NOON).keys()
    assert told_of_slices <= Reporter(slices(redis, 2), Telemetry()).report(NOON).keys()


async def test_a_leader_tells_of_each_slice_that_is_not_live(redis: Any) -> None:
    """With what it last knew of it; of a thousand that are live there is nothing to tell."""
    telemetry = Telemetry(role="leader", state="live")
    telemetry.slices = [SliceTelemetry("live", applied_at=time.monotonic()) for _ in range(8)]
    telemetry.slices[5] = SliceTelemetry(
        "waiting", "Redis is away.", "t", NOON, 2_000, time.monotonic() - 60, hot_sessions=3, loading=1
    )
    report = Reporter(slices(redis, 8), telemetry).report(NOON)
    (one,) = report["slices"]

    assert report["slices_count"] == 8
    assert 60_002 <= one.pop("as_of_age_ms") < 90_000
    assert one == {
        "slice": 5,
        "state": "waiting",
        "reason": "Redis is away.",
        "term": "t",
        "as_of": AT,
        "hot_sessions": 3,
        "loading": 1,
    }


async def test_a_slice_that_is_away_holds_up_no_other(redis: Any) -> None:
    """Its server takes the connection, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        away = connect(f"redis://127.0.0.1:{silent.getsockname()[1]}", name="test")
        first, second, third = slices(redis, 8)
        reporter = Reporter([ViewReader(away, first.keys), second, third], Telemetry(role="leader"))
        running = asyncio.create_task(reporter.run())

        async def there() -> bool:
            return bool(await second.projectors()) and bool(await third.projectors())

        await eventually(there, "it reports to the others")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await away.aclose()

    assert await first.projectors() == {}


async def test_a_process_that_ends_is_gone_from_every_slice(redis: Any) -> None:
    """At once."""
    parts = slices(redis, 8)
    reporter = Reporter(parts, Telemetry(role="leader"))
    for part in parts:
        await reporter.write(part)
    counts = [len(await part.projectors()) for part in parts]
    await reporter.leave()

    assert counts == [1, 1, 1]
    assert [await part.projectors() for part in parts] == [{}, {}, {}]


@pytest.mark.parametrize(("leads", "stands_by"), [(8, 32), (1, 8), (8, 1)])
async def test_a_standby_with_another_number_of_slices_says_so(redis: Any, leads: int, stands_by: int) -> None:
    """By name, in its report and once in its log; no longer when they agree."""
    await Reporter(slices(redis, leads), Telemetry(role="leader")).write(slices(redis, leads)[0])
    (first, *_) = slices(redis, stands_by)
    standby = Reporter(slices(redis, stands_by), Telemetry(role="standby"))
    with structlog.testing.capture_logs() as logs:
        await standby.write(first)
        await standby.write(first)
    report = reported(await redis.hgetall(first.keys.projectors), standby)
    await redis.flushall()
    await standby.write(first)

    sentence = (
        f"The leading projector is set to READSIDE_SLICES={leads}, and this process to {stands_by}: "
        "all processes of a deployment need the same number."
    )
    assert report["reason"] == sentence
    assert [line["reason"] for line in logs] == [sentence]
    assert reported(await redis.hgetall(first.keys.projectors), standby)["reason"] is None


async def test_a_standby_with_as_many_slices_says_nothing(redis: Any) -> None:
    """There is nothing to say."""
    await Reporter(slices(redis, 8), Telemetry(role="leader")).write(slices(redis, 8)[0])
    standby = Reporter(slices(redis, 8), Telemetry(role="standby"))
    await standby.write(slices(redis, 8)[0])

    assert standby.report(NOON)["reason"] is None
