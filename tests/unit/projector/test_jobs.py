"""Jobs: what whoever waits is told, and when."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fakeredis import FakeServer

from projector import jobs as module
from projector.core.sessions import Sessions
from projector.jobs import MAX_OUTCOMES, Jobs
from projector.requests import Requests
from projector.telemetry import Telemetry
from readmodel.errors import ViewUnavailable
from readmodel.messages import ProjectorReply, ProjectorRequest
from readmodel.redis_servers import OneServer
from readmodel.view import ViewReader
from readmodel.whole_view import WholeView
from tests.fakes.redis import fake_redis
from tests.support.waiting import eventually

SESSIONS = tuple(f"00000000-0000-4000-8000-{number:012}" for number in range(2))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[ProjectorReply]:
    """The replies; progress is told so rarely that only a job's end brings one."""
    monkeypatch.setattr(module, "PROGRESS_SECONDS", 3600.0)
    replies: list[ProjectorReply] = []

    async def reply(_: Jobs, one: ProjectorReply, __: ViewReader | None) -> None:
        replies.append(one)

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
