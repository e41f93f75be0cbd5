"""Jobs: what whoever waits is told, and when."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fakeredis import FakeServer

from projector import jobs as module
from projector.core.sessions import Sessions
from projector.jobs import MAX_OUTCOMES, MAX_REQUESTS, MAX_UNHEARD, Jobs
from projector.requests import Requests
from projector.telemetry import Telemetry
from readmodel.errors import ViewUnavailable
from readmodel.redis.servers import OneServer
from readmodel.values.messages import ProjectorReply, ProjectorRequest
from readmodel.view.reader import ViewReader
from readmodel.view.whole import WholeView
from tests.fakes.redis import fake_redis
from tests.support.waiting import eventually

SESSIONS = tuple(f"00000000-0000-4000-8000-{number:012}" for number in range(2))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[ProjectorReply]:
    """The replies; progress is told so rarely that only a job's end brings one."""
    monkeypatch.setattr(module, "PROGRESS_SECONDS", 3600.0)
    replies: list[ProjectorReply] = []

    async def reply(_: Jobs, one: ProjectorReply, __: ViewReader) -> int:
        replies.append(one)
        return 1

    monkeypatch.setattr(Jobs, "reply", reply)
    return replies


@pytest.fixture
async def jobs(told: list[ProjectorReply]) -> AsyncIterator[Jobs]:
    """Jobs that are told of."""
    redis = fake_redis()
    made = Jobs(WholeView(OneServer(redis), "readside"))
    telling = asyncio.create_task(made.tell())
    yield made
    assert not telling.done()
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)
    await redis.aclose()


async def test_the_end_of_a_job_is_told_at_once(jobs: Jobs, told: list[ProjectorReply]) -> None:
    """With the last session, not with the next progress."""
    request = ProjectorRequest("rebuild", SESSIONS, reply=True)
    jobs.receive(request)
    jobs.finish(SESSIONS[0], "hot")
    jobs.finish(SESSIONS[1], "missing")
    await eventually(lambda: bool(told), "it is told")

    outcomes = dict(zip(SESSIONS, ("hot", "missing"), strict=True))
    assert told == [ProjectorReply(request.id, "done", 2, 2, outcomes, "")]


async def test_a_job_that_may_expect_more_is_not_at_its_end(jobs: Jobs, told: list[ProjectorReply]) -> None:
    """Until it is closed."""
    job = jobs.receive(ProjectorRequest("rebuild", (), everything=True, reply=True))
    job.expect(SESSIONS[:1])
    jobs.finish(SESSIONS[0], "hot")
    ended = job.ended
    jobs.close(job)
    await eventually(lambda: bool(told), "it is told")

    assert not ended
    assert [reply.state for reply in told] == ["done"]


async def test_a_job_without_sessions_ends_at_once(jobs: Jobs, told: list[ProjectorReply]) -> None:
    """There is nothing to wait for."""
    request = ProjectorRequest("rebuild", (), reply=True)
    jobs.receive(request)
    jobs.expect(request.id, ())
    await eventually(lambda: bool(told), "it is told")

    assert [(reply.state, reply.total) for reply in told] == [("done", 0)]


async def test_a_failure_is_told_at_once(jobs: Jobs, told: list[ProjectorReply]) -> None:
    """The command ends with the reason."""
    jobs.fail(jobs.receive(ProjectorRequest("rebuild", SESSIONS, reply=True)), "run it again")
    await eventually(lambda: bool(told), "it is told")

    assert [(reply.state, reply.detail) for reply in told] == [("failed", "run it again")]


async def test_many_outcomes_are_told_one_reply_after_another(jobs: Jobs, told: list[ProjectorReply]) -> None:
    """A reply carries a bounded number; the next follows at once."""
    many = [f"00000000-0000-4000-8000-{number:012}" for number in range(2 * MAX_OUTCOMES + 1)]
    jobs.receive(ProjectorRequest("rebuild", tuple(many), reply=True))
    for session_id in many:
        jobs.finish(session_id, "hot")
    await eventually(lambda: bool(told) and told[-1].state == "done", "the end is told")

    assert [len(reply.sessions) for reply in told] == [MAX_OUTCOMES, MAX_OUTCOMES, 1]


async def test_a_slice_that_cannot_begin_is_asked_once_when_it_does(jobs: Jobs) -> None:
    """However often it tried: what jobs wait for must not fill its line, and push out what others ask."""
    jobs.attach(0, asyncio.Event())
    jobs.receive(ProjectorRequest("rebuild", SESSIONS, reply=True))
    jobs.take(0)
    for _ in range(5):
        jobs.detach(0)
    jobs.attach(0, asyncio.Event())

    assert [sorted(request.sessions) for request in jobs.take(0)] == [list(SESSIONS)]


async def test_what_stands_in_a_slices_line_is_not_asked_twice(jobs: Jobs) -> None:
    """What came while it had no term waits there."""
    jobs.receive(ProjectorRequest("rebuild", SESSIONS, reply=True))
    jobs.attach(0, asyncio.Event())

    assert [request.sessions for request in jobs.take(0)] == [SESSIONS]


async def test_a_job_knows_its_sessions_though_redis_fails_the_term(jobs: Jobs) -> None:
    """A rebuild of the hot sessions behind a warm that Redis cannot answer for is asked of the next term."""
    sessions = Sessions(60.0, 10, Telemetry(), lambda _load: None, jobs.finish)
    sessions.put(SESSIONS[0])
    server = FakeServer()
    server.connected = False
    redis = fake_redis(server)
    requests = Requests(
        index=0, term="1", sessions=sessions, jobs=jobs, view=WholeView(OneServer(redis), "readside").parts[0]
    )
    jobs.receive(ProjectorRequest("warm", SESSIONS[:1]))
    jobs.receive(ProjectorRequest("rebuild", (), reply=True))
    with pytest.raises(ViewUnavailable):
        await requests.gather()
    jobs.attach(0, asyncio.Event())

    assert [request.sessions for request in jobs.take(0)] == [SESSIONS[:1]]


async def test_a_request_that_comes_by_several_channels_has_one_job(jobs: Jobs) -> None:
    """It is sent again until somebody seems to hear it: every session must not be loaded as often."""
    request = ProjectorRequest("rebuild", (), everything=True, reply=True)
    first = jobs.receive(request)

    assert jobs.receive(request) is first
    assert [jobs.next_of_everything(), jobs.next_of_everything()] == [first, None]


async def test_touches_push_no_request_out_that_somebody_waits_for(jobs: Jobs) -> None:
    """While a slice is away they come and come; the rebuild of its hot sessions would wait for ever."""
    request = ProjectorRequest("rebuild", (), reply=True)
    jobs.receive(request)
    for _ in range(MAX_REQUESTS + 1):
        jobs.receive(ProjectorRequest("touch", SESSIONS))
    taken = jobs.take(0)

    assert len(taken) == MAX_REQUESTS
    assert taken[0].id == request.id


async def test_whose_request_is_pushed_out_hears_so(jobs: Jobs, told: list[ProjectorReply]) -> None:
    """Where all are commands."""
    asked = [ProjectorRequest("rebuild", (), reply=True) for _ in range(MAX_REQUESTS + 1)]
    for request in asked:
        jobs.receive(request)
    await eventually(lambda: bool(told), "it is told")

    assert [reply.id for reply in told if reply.state == "failed"] == [asked[0].id]


async def test_a_job_that_nobody_hears_of_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked has left: while a slice is away, jobs that wait for it must not gather."""
    monkeypatch.setattr(module, "PROGRESS_SECONDS", 0.001)
    redis = fake_redis()

    async def reply(_: Jobs, __: ProjectorReply, ___: ViewReader) -> int:
        return 0

    monkeypatch.setattr(Jobs, "reply", reply)
    jobs = Jobs(WholeView(OneServer(redis), "readside"))
    job = jobs.receive(ProjectorRequest("rebuild", SESSIONS, reply=True))
    telling = asyncio.create_task(jobs.tell())
    await eventually(lambda: job.unheard > MAX_UNHEARD, "nobody hears")
    again = jobs.receive(ProjectorRequest("rebuild", SESSIONS, id=job.id, reply=True))
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)
    await redis.aclose()

    assert again is not job


async def test_a_slice_that_is_away_holds_up_no_replies_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its jobs wait out their time; who asked by another slice hears meanwhile."""
    monkeypatch.setattr(module, "PROGRESS_SECONDS", 0.001)
    redis, sent = fake_redis(), []
    view = WholeView(OneServer(redis), "readside", 3)

    async def reply(_: Jobs, one: ProjectorReply, line: ViewReader) -> int:
        if line is view.reporting[0]:
            await asyncio.Event().wait()
        sent.append(one.id)
        return 1

    monkeypatch.setattr(Jobs, "reply", reply)
    jobs = Jobs(view)
    jobs.receive(ProjectorRequest("rebuild", SESSIONS, reply=True), view.reporting[0])
    request = ProjectorRequest("rebuild", SESSIONS, reply=True)
    jobs.receive(request, view.reporting[1])
    telling = asyncio.create_task(jobs.tell())
    await eventually(lambda: request.id in sent, "the other is told")
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)
    await redis.aclose()
