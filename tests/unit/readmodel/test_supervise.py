"""No background task dies alone: the first to end takes the others with it."""

import asyncio

import pytest

from readmodel.runtime import supervise
from readmodel.runtime.supervise import first_to_end
from tests.support.waiting import eventually


class Wait:
    """A task that waits for ever and notes how it ended."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.ended_by: type[BaseException] | None = None

    async def run(self) -> None:
        """Wait for ever."""
        self.started.set()
        try:
            await asyncio.Event().wait()
        except BaseException as error:
            self.ended_by = type(error)
            raise


async def _return() -> None:
    await asyncio.sleep(0)


async def _fail(error: Exception) -> None:
    await asyncio.sleep(0)
    raise error


async def test_the_first_to_return_ends_the_rest() -> None:
    """The others are cancelled, and over before it returns."""
    waiting = Wait()
    await first_to_end(waiting.run(), _return())

    assert waiting.ended_by is asyncio.CancelledError


async def test_the_reason_is_raised_itself() -> None:
    """Not in a group: callers decide by it."""
    waiting, error = Wait(), KeyError("why")
    with pytest.raises(KeyError) as caught:
        await first_to_end(waiting.run(), _fail(error))

    assert caught.value is error
    assert waiting.ended_by is asyncio.CancelledError


async def test_of_two_that_end_together_the_failure_is_told() -> None:
    """A return beside it must not hide it."""
    with pytest.raises(KeyError):
        await first_to_end(_return(), _fail(KeyError()))


async def test_cancelling_ends_all_and_is_not_swallowed() -> None:
    """As a signal does it."""
    one, other = Wait(), Wait()
    task = asyncio.create_task(first_to_end(one.run(), other.run()))
    await one.started.wait()
    await other.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert one.ended_by is other.ended_by is asyncio.CancelledError


async def test_a_failure_while_ending_is_no_new_reason() -> None:
    """What the others raise when they are cancelled is gathered, not lost in the air."""

    async def bad_loser() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError

    with pytest.raises(KeyError):
        await first_to_end(bad_loser(), _fail(KeyError()))


class Deaf(Wait):
    """A task that loses its first cancellations, as libraries do."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.lost = 0
        self._times = times

    async def run(self) -> None:
        """Wait for ever."""
        while self.lost < self._times:
            self.started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.lost += 1
        await super().run()


async def test_a_lost_cancellation_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio.wait_for loses one now and then before Python 3.12; the process must end all the same."""
    monkeypatch.setattr(supervise, "AGAIN_SECONDS", 0.01)
    deaf = Deaf(times=3)
    with pytest.raises(KeyError):
        await first_to_end(deaf.run(), _fail(KeyError()))

    assert (deaf.lost, deaf.ended_by) == (3, asyncio.CancelledError)


async def test_cancelled_while_ending_it_still_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them, one in the other: the outer one's patience is the inner one's interruption."""
    monkeypatch.setattr(supervise, "AGAIN_SECONDS", 0.01)
    deaf = Deaf(times=5)
    task = asyncio.create_task(first_to_end(first_to_end(deaf.run(), Wait().run()), Wait().run()))
    await deaf.started.wait()
    task.cancel()
    await eventually(lambda: deaf.lost > 0, "it is ending")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert deaf.ended_by is asyncio.CancelledError


async def test_cancelled_while_ending_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever cancels it then must not be told of another reason."""
    monkeypatch.setattr(supervise, "AGAIN_SECONDS", 0.01)
    deaf = Deaf(times=5)
    task = asyncio.create_task(first_to_end(deaf.run(), _fail(KeyError())))
    await eventually(lambda: deaf.lost > 0, "it is ending")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert deaf.ended_by is asyncio.CancelledError


async def test_an_error_that_takes_the_place_of_a_cancellation_is_one() -> None:
    """A connection that breaks while its task is cancelled must not look like an outage to wait out."""

    async def works() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as cancelled:  # as asyncpg does when its connection is gone
                supervise.raise_if_cancelled(cancelled)
                raise AssertionError("taken for an outage") from cancelled

    task = asyncio.create_task(works())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_an_uncancelled_task_stays_what_it_is() -> None:
    """An outage is an outage."""
    supervise.raise_if_cancelled(OSError("gone"))
