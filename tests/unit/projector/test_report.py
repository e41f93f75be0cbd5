"""What a projector reports, and what it takes over from those that have ended."""

from collections.abc import AsyncIterator
from typing import Any

import fakeredis
import orjson
import pytest

from projector.report import LAST_ERRORS, Reporter
from projector.telemetry import MAX_ERRORS, Telemetry
from readmodel.keys import Keys
from readmodel.projection import FRESH_REPORT_SECONDS, fresh_reports
from readmodel.view import ViewReader

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
