"""What is asked of the projector, how often, and how soon."""

import asyncio

from query_api.sources.projector_requests import WARM_AGAIN_SECONDS, ProjectorRequests
from tests.fakes.projector_line import FakeLine
from tests.support.tables import Clock
from tests.support.waiting import eventually

A, B = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


async def test_a_session_is_asked_for_once_a_second() -> None:
    """However often it is polled; and others are not held up by it."""
    line, clock = FakeLine(), Clock()
    requests = ProjectorRequests(line, 3600, clock)
    requests.warm(A)
    await requests.send_warms()
    clock.now += WARM_AGAIN_SECONDS / 2
    requests.warm(A)
    requests.mend(A)
    requests.warm(B)
    await requests.send_warms()
    clock.now += WARM_AGAIN_SECONDS / 2
    await requests.send_warms()  # whoever was asked for a second ago may be asked for again
    requests.warm(A)
    requests.warm(B)
    await requests.send_warms()

    assert line.asked("warm") == [{A}, {B}, {A}]
    assert line.asked("repair") == []


async def test_touches_wait_until_they_are_due() -> None:
    """Keys in Redis live for long: one message each few seconds keeps them."""
    line, clock = FakeLine(), Clock()
    requests = ProjectorRequests(line, 3600, clock)
    running = asyncio.create_task(requests.run())
    requests.touch(A)
    requests.warm(B)
    await eventually(lambda: line.asked("warm"), "a warm is sent")
    assert line.asked("touch") == []
    clock.now += 11
    await eventually(lambda: line.asked("touch"), "the touch is sent")
    running.cancel()

    assert line.asked("touch") == [{A}]
