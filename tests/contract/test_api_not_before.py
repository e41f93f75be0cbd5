"""`Readside-Not-Before`: no answer is as of an earlier instant, by either way in."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator

import pytest

from readmodel.errors import EventLogUnavailable
from readmodel.values.freshness import rfc3339
from tests.fakes.event_log import FakeEventLog
from tests.support.builders import BOTH_KEY, Way, events_path
from tests.support.scraping import series
from tests.support.stands import NOON_US, Stand, fake_stand, rows
from tests.support.waiting import eventually

SID = "11111111-1111-4111-8111-111111111111"
LONG_SECONDS = 30.0
"""Between two beats: nobody is let go while a test waits."""


@pytest.fixture
async def quiet(way: Way) -> AsyncIterator[Stand]:
    """A hot session, and beats when the test says so."""
    async with fake_stand(way, heartbeat_seconds=LONG_SECONDS, max_staleness_seconds=600.0) as made:
        await made.write(SID, rows(SID, 3, "step_created"))
        await made.heat(SID)
        await made.poll_from("memory", SID)
        yield made


@pytest.fixture
async def hasty(way: Way) -> AsyncIterator[Stand]:
    """The same, where a beat is awaited for a moment only."""
    async with fake_stand(way, heartbeat_seconds=0.01, max_staleness_seconds=600.0) as made:
        await made.write(SID, rows(SID, 3, "step_created"))
        await made.heat(SID)
        yield made


def now_us(ahead_seconds: float = 0.0) -> int:
    """The clock that the fake log and the beats read."""
    return time.time_ns() // 1000 + int(ahead_seconds * 1_000_000)


async def held(stand: Stand, polls: int = 1) -> None:
    """Wait until so many polls are held."""
    front = stand.app._front._events._as_of_wait.instants
    await eventually(lambda: front.held == polls, f"{polls} polls are held")


async def test_memory_answers_where_it_has_come_so_far(quiet: Stand) -> None:
    """What was sent back as it came is met at once."""
    first = await quiet.poll_from("memory", SID)
    again = await quiet.poll(SID, readside_not_before=first.headers["readside-as-of"])

    assert (again.status_code, again.headers["readside-source"]) == (200, "memory")
    assert again.headers["readside-as-of"] >= first.headers["readside-as-of"]


async def test_a_poll_is_held_until_the_beat_that_passes_the_instant(quiet: Stand) -> None:
    """Then memory answers it, and no store was asked."""
    instant_us = now_us()
    polling = asyncio.create_task(quiet.poll(SID, readside_not_before=rfc3339(instant_us)))
    await held(quiet)
    await quiet.beat()
    answer = await polling

    assert (answer.status_code, answer.headers["readside-source"]) == (200, "memory")
    assert answer.headers["readside-as-of"] >= rfc3339(instant_us)


async def test_a_change_that_comes_with_the_beat_is_in_the_answer(quiet: Stand) -> None:
    """What memory held when the poll came is not what it gets."""
    polling = asyncio.create_task(quiet.poll(SID, readside_not_before=rfc3339(now_us())))
    await held(quiet)
    await quiet.add(rows(SID, 1, "step_created")[0])
    await quiet.beat()
    answer = await polling

    assert (answer.json()["total"], answer.headers["readside-source"]) == (4, "redis")


async def test_postgres_is_asked_where_no_beat_comes_in_time(hasty: Stand) -> None:
    """By a query that is sent then."""
    instant = rfc3339(now_us())
    answer = await hasty.poll(SID, readside_not_before=instant)

    assert (answer.status_code, answer.headers["readside-source"]) == (200, "postgres")
    assert answer.headers["readside-as-of"] >= instant


async def test_staleness_0_is_not_held(quiet: Stand) -> None:
    """Postgres is asked at once."""
    answer = await quiet.poll(SID, readside_not_before=rfc3339(now_us()), readside_max_staleness="0")

    assert (answer.status_code, answer.headers["readside-source"]) == (200, "postgres")


@pytest.mark.parametrize("years", [1, 7000])
async def test_an_instant_in_the_future_is_refused(quiet: Stand, years: int) -> None:
    """At once, and with a sentence that says what to send."""
    answer = await quiet.poll(SID, readside_not_before=rfc3339(now_us(years * 31_000_000)))

    assert answer.status_code == 400
    assert answer.json()["parameter"] == "Readside-Not-Before"
    assert "future" in answer.json()["detail"]


@pytest.mark.parametrize(
    "value", ["", "yesterday", "5", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00Z, 2026-01-01T00:00:00Z", "é"]
)
async def test_what_is_no_instant_is_refused(quiet: Stand, value: str) -> None:
    """Whatever memory holds."""
    headers = {b"readside-not-before": value.encode("latin-1")}
    answer = await quiet.client.get(events_path(SID), headers=headers)

    assert answer.status_code == 400
    assert answer.json()["parameter"] == "Readside-Not-Before"


async def test_everything_that_is_wrong_is_named(quiet: Stand) -> None:
    """Both headers and a parameter."""
    answer = await quiet.poll(SID, "?limit=0", readside_not_before="x", readside_max_staleness="x")

    named = [error["parameter"] for error in answer.json()["errors"]]
    assert named == ["limit", "Readside-Max-Staleness", "Readside-Not-Before"]


@pytest.mark.parametrize(
    "instant", ["2026-01-13T14:30:00Z", "2026-01-13 14:30:00", "2026-01-13T14:30:00.1234567+02:00"]
)
async def test_an_instant_is_written_as_since_is(quiet: Stand, instant: str) -> None:
    """With an offset or without, and with as many digits as somebody likes."""
    answer = await quiet.poll(SID, readside_not_before=instant)

    assert (answer.status_code, answer.headers["readside-source"]) == (200, "memory")


async def test_what_the_client_holds_is_not_sent_again(quiet: Stand) -> None:
    """304, and HEAD without a body, are held as well."""
    etag = (await quiet.poll(SID)).headers["etag"]
    wish = {"readside-not-before": rfc3339(now_us())}
    same = asyncio.create_task(quiet.client.get(events_path(SID), headers=wish | {"if-none-match": etag}))
    head = asyncio.create_task(quiet.client.head(events_path(SID), headers=wish))
    await held(quiet, 2)
    await quiet.beat()

    assert ((await same).status_code, (await head).status_code) == (304, 200)
    assert (await head).content == b""


async def test_a_compressed_answer_is_held_and_compressed(way: Way) -> None:
    """A page of more than a thousand bytes, in the form that is asked for."""
    async with fake_stand(way, heartbeat_seconds=LONG_SECONDS, max_staleness_seconds=600.0) as stand:
        await stand.write(SID, rows(SID, 30, "step_created"))
        await stand.heat(SID)
        await stand.poll_from("memory", SID, accept_encoding="identity")
        polling = asyncio.create_task(stand.poll(SID, readside_not_before=rfc3339(now_us()), accept_encoding="gzip"))
        await held(stand)
        await stand.beat()
        answer = await polling

        assert (answer.headers["content-encoding"], answer.json()["total"]) == ("gzip", 30)


async def test_a_held_poll_is_let_go_when_its_client_leaves(quiet: Stand, way: Way) -> None:
    """It takes no place any more. Who only says that it sends nothing more is answered first."""
    if way == "asgi":
        polling = asyncio.create_task(quiet.poll(SID, readside_not_before=rfc3339(now_us())))
        await held(quiet)
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
    else:
        url = quiet.client.base_url
        _, writer = await asyncio.open_connection(url.host, url.port)
        fields = f"host: api\r\nx-api-key: {BOTH_KEY}\r\nreadside-not-before: {rfc3339(now_us())}\r\n"
        writer.write(f"GET {events_path(SID)} HTTP/1.1\r\n{fields}\r\n".encode())
        await held(quiet)
        reset = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        writer.transport.abort()
    await held(quiet, 0)


async def test_polls_past_the_bound_are_refused(quiet: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a time to come back."""
    monkeypatch.setattr(quiet.app._front._events._as_of_wait.instants._places, "most", 1)
    wish = rfc3339(now_us())
    polling = asyncio.create_task(quiet.poll(SID, readside_not_before=wish))
    await held(quiet)
    refused = await quiet.poll(SID, readside_not_before=wish)
    await quiet.beat()

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert (await polling).status_code == 200


class SlowClockLog(FakeEventLog):
    """A primary whose clock is behind, as after a failover."""

    behind_seconds = 10.0

    async def answer(self, *arguments: object, **options: object) -> object:  # type: ignore[override]
        """Answer as of some seconds before."""
        found = await super().answer(*arguments, **options)  # type: ignore[arg-type]
        return found._replace(as_of_us=found.as_of_us - int(self.behind_seconds * 1_000_000))


async def test_a_primary_whose_clock_is_behind_is_no_later(way: Way) -> None:
    """503 with a time to come back: never an answer that is older than what its client has seen."""
    async with fake_stand(way, SlowClockLog(), heartbeat_seconds=0.01, max_staleness_seconds=600.0) as stand:
        await stand.write(SID, rows(SID, 3, "step_created"))
        answer = await stand.poll(SID, readside_not_before=rfc3339(now_us()))

        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "Readside-Not-Before" in answer.json()["detail"]


@pytest.mark.parametrize(("ahead", "status"), [(0.0, 200), (3600.0, 400)])
async def test_where_nothing_is_heard_postgres_judges(way: Way, ahead: float, status: int) -> None:
    """A term has begun, and no beat of it was heard yet."""
    async with fake_stand(way) as stand:
        await stand.write(SID, rows(SID, 3, "step_created"))
        await stand.stage.begin("term-2", expected="term-1")

        async def nothing_is_heard() -> bool:
            return "readside_lag_seconds" not in series((await stand.client.get("/metrics")).text)

        await eventually(nothing_is_heard, "the API hears of the term")
        answer = await stand.poll(SID, readside_not_before=rfc3339(now_us(ahead)))

        assert answer.status_code == status


async def test_no_older_answer_is_given_while_postgres_is_away(way: Way) -> None:
    """Without the header the view would answer; with it nobody can."""
    log = FakeEventLog()
    async with fake_stand(way, log, heartbeat_seconds=0.01, max_staleness_seconds=600.0) as stand:
        await stand.write(SID, rows(SID, 3, "step_created"))
        await stand.heat(SID)
        await stand.poll_from("memory", SID)
        log.error = EventLogUnavailable("PostgreSQL at db does not answer.")
        refused = await stand.poll(SID, readside_not_before=rfc3339(now_us()))
        usual = await stand.poll(SID)

        assert (refused.status_code, usual.status_code) == (503, 200)


async def test_a_404_is_as_late_as_any_answer(quiet: Stand) -> None:
    """What memory knows to be missing is asked again."""
    unknown = "22222222-2222-4222-8222-222222222222"
    await quiet.poll_from("memory", unknown)
    polling = asyncio.create_task(quiet.poll(unknown, readside_not_before=rfc3339(now_us())))
    await held(quiet)
    await quiet.beat(unknown)
    answer = await polling

    assert (answer.status_code, answer.headers["readside-source"]) == (404, "postgres")


async def test_polls_with_an_instant_are_counted_as_others_are(quiet: Stand) -> None:
    """By the source that answered."""
    before = series((await quiet.client.get("/metrics")).text)
    await quiet.poll(SID, readside_not_before=rfc3339(NOON_US))
    after = series((await quiet.client.get("/metrics")).text)

    name = "readside_polls_total{source=memory,status=200}"
    assert after[name] - before[name] == 1
