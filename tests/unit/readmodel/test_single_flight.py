"""Those who want the same thing at the same time share one attempt, which none of them owns."""

import asyncio
import gc
from contextvars import ContextVar

import pytest

from readmodel.runtime.single_flight import SingleFlight
from tests.support.waiting import eventually


class Attempts:
    """Count attempts, each of which waits for the gate and then gives its number, or fails."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun = self.cancelled = 0
        self.error: Exception | None = None
        self.flight = SingleFlight(self.attempt)

    async def attempt(self) -> int:
        """Wait until the gate opens."""
        self.begun += 1
        number = self.begun
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return number

    async def ask(self) -> int:
        """Be one of the callers."""
        task = self.flight.join()
        await self.flight.settled()
        return task.result()


async def test_callers_at_the_same_time_share_an_attempt() -> None:
    """Each has its result."""
    attempts = Attempts()
    callers = [asyncio.create_task(attempts.ask()) for _ in range(3)]
    await eventually(lambda: attempts.begun == 1, "an attempt")
    attempts.gate.set()

    assert await asyncio.gather(*callers) == [1, 1, 1]


async def test_an_error_reaches_all() -> None:
    """Nobody is told anything else."""
    attempts = Attempts()
    attempts.error = ValueError("broken")
    callers = [asyncio.create_task(attempts.ask()) for _ in range(3)]
    attempts.gate.set()

    assert await asyncio.gather(*callers, return_exceptions=True) == [attempts.error] * 3


async def test_a_caller_who_leaves_takes_the_attempt_from_nobody() -> None:
    """Not even the one who began it."""
    attempts = Attempts()
    first, second = (asyncio.create_task(attempts.ask()) for _ in range(2))
    await eventually(lambda: attempts.begun == 1, "an attempt")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    attempts.gate.set()

    assert await second == 1
    assert attempts.cancelled == 0


async def test_an_attempt_goes_on_when_all_have_left() -> None:
    """What it finds is of use to whoever comes next, who joins it."""
    attempts = Attempts()
    only = asyncio.create_task(attempts.ask())
    await eventually(lambda: attempts.begun == 1, "an attempt")
    only.cancel()
    with pytest.raises(asyncio.CancelledError):
        await only
    assert attempts.flight.in_flight
    attempts.gate.set()

    assert await attempts.ask() == 1


@pytest.mark.parametrize("error", [None, ValueError("broken")])
async def test_the_next_call_after_the_end_begins_anew(error: Exception | None) -> None:
    """Nothing is remembered, be it a result or an error."""
    attempts = Attempts()
    attempts.error = error
    attempts.gate.set()
    await asyncio.gather(attempts.ask(), return_exceptions=True)
    assert not attempts.flight.in_flight
    attempts.error = None

    assert await attempts.ask() == 2


async def test_a_wait_may_be_short() -> None:
    """The attempt goes on."""
    attempts = Attempts()
    assert attempts.flight.begin()

    await attempts.flight.settled(0.001)

    assert attempts.flight.in_flight
    assert not attempts.flight.begin()
    await attempts.flight.close()


async def test_nothing_is_waited_for_where_nothing_is_under_way() -> None:
    """Nor is anything begun."""
    attempts = Attempts()

    await attempts.flight.settled()
    await attempts.flight.close()

    assert attempts.begun == 0


async def test_closing_cancels_and_waits_for_the_end() -> None:
    """Whoever still waits for it is cancelled with it."""
    attempts = Attempts()
    caller = asyncio.create_task(attempts.ask())
    await eventually(lambda: attempts.begun == 1, "an attempt")

    await attempts.flight.close()

    assert attempts.cancelled == 1
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_an_attempt_runs_in_the_context_of_no_caller() -> None:
    """Its log lines are about none of the requests that share it."""
    request: ContextVar[str] = ContextVar("request", default="none")
    request.set("the first caller's")

    async def attempt() -> str:
        return request.get()

    assert await SingleFlight(attempt).join() == "none"


async def test_an_error_that_nobody_waits_for_is_no_complaint() -> None:
    """All may have left before."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    attempts = Attempts()
    attempts.error = ValueError("broken")
    attempts.gate.set()
    attempts.flight.begin()
    await attempts.flight.settled()

    del attempts
    gc.collect()  # a task complains when it goes

    assert complaints == []
