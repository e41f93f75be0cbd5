"""Barriers in the product: whoever comes to one while it is closed waits until the test opens it. No sleeps."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from projector.core.operations import Operation
from tests.support.waiting import PATIENCE_SECONDS, eventually

Chosen = Callable[..., bool]


class Barrier:
    """A point just before or just after a method; it is open until the test closes it.

    A call that is held goes on even if its caller is cancelled or gives up, as a command does that is on its way.
    """

    def __init__(self, method: Callable[..., Awaitable[Any]], chosen: Chosen, is_before: bool) -> None:
        self.passed = 0
        """How many calls that were picked are over."""
        self.calls: list[tuple[Any, ...]] = []
        """The arguments of the calls that were held, the object first."""
        self._method = method
        self._chosen = chosen
        self._is_before = is_before
        self._open = asyncio.Event()
        self._open.set()
        self._came = asyncio.Event()
        self._given_up: asyncio.Future[None] | None = None
        self._held: list[asyncio.Task[Any]] = []

    def close(self) -> None:
        """Hold who comes from now on."""
        self._open.clear()
        self._came.clear()

    def open(self) -> None:
        """Let everybody go on, those who are held first."""
        self._open.set()

    async def reached(self) -> None:
        """Wait until somebody is held."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._came.wait()

    def give_up(self, error: Exception) -> None:
        """Have the callers of what is held get this error; the calls stay held, and whoever comes next passes."""
        assert self._given_up is not None
        given_up, self._given_up = self._given_up, None
        given_up.set_exception(error)
        self._chosen = lambda *_, **__: False

    async def ended(self) -> list[Any]:
        """Wait until all that was held is over; give what each came to, errors too."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await asyncio.gather(*self._held, return_exceptions=True)

    async def call(self, *arguments: Any, **named: Any) -> Any:
        """Stand in for the method."""
        if not self._chosen(*arguments, **named):
            return await self._method(*arguments, **named)
        if self._open.is_set():
            result = await self._method(*arguments, **named)
            self.passed += 1
            return result
        task = asyncio.create_task(self._hold(arguments, named))
        self._held.append(task)
        self._given_up = self._given_up or asyncio.get_running_loop().create_future()
        given_up = self._given_up
        await asyncio.wait({task, given_up}, return_when=asyncio.FIRST_COMPLETED)
        if given_up.done():
            given_up.result()
        return task.result()

    async def _hold(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if self._is_before:
            await self._wait(arguments)
            result = await self._method(*arguments, **named)
        else:
            result = await self._method(*arguments, **named)
            await self._wait(arguments)
        self.passed += 1
        return result

    async def _wait(self, arguments: tuple[Any, ...]) -> None:
        self.calls.append(arguments)
        self._came.set()
        await self._open.wait()


def before(patch: pytest.MonkeyPatch, owner: type, name: str, chosen: Chosen = lambda *_, **__: True) -> Barrier:
    """Put a barrier before a method of a class, for the calls that `chosen` picks by their arguments."""
    return _placed(patch, owner, name, chosen, is_before=True)


def after(patch: pytest.MonkeyPatch, owner: type, name: str, chosen: Chosen = lambda *_, **__: True) -> Barrier:
    """Put a barrier after a method of a class: what it did is done, and its caller does not know yet."""
    return _placed(patch, owner, name, chosen, is_before=False)


def _placed(patch: pytest.MonkeyPatch, owner: type, name: str, chosen: Chosen, is_before: bool) -> Barrier:
    barrier = Barrier(getattr(owner, name), chosen, is_before)

    async def stand_in(*arguments: Any, **named: Any) -> Any:
        return await barrier.call(*arguments, **named)

    patch.setattr(owner, name, stand_in)
    return barrier


def doing(kind: type[Operation], session_id: str) -> Chosen:
    """Pick the batches of `ViewWriter.apply` that do this to a session."""

    def chosen(_writer: object, _term: str, _n: int, operations: Sequence[Operation], *_: object, **__: object) -> bool:
        return any(isinstance(one, kind) and one.session_id == session_id for one in operations)

    return chosen


class Ear:
    """What a part hears by a method of one argument: noted, lost on the way, or held back."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.loses: Callable[[Any], bool] = lambda _what: False
        """What never arrives."""
        self.waits_after: Callable[[Any], bool] = lambda _what: False
        """What is the last to arrive: all that comes after it is held back, in order, until `release`."""
        self._held: list[Callable[[], None]] | None = None

    @classmethod
    def of(cls, patch: pytest.MonkeyPatch, owner: type, name: str) -> "Ear":
        """Listen at a method of a class."""
        ear, method = cls(), getattr(owner, name)

        def stand_in(self: object, what: Any, *more: Any) -> None:
            def arrive() -> None:
                method(self, what, *more)
                ear.heard.append(what)

            ear.take(what, arrive)

        patch.setattr(owner, name, stand_in)
        return ear

    def take(self, what: Any, arrive: Callable[[], None]) -> None:
        """Decide what becomes of it."""
        if self.loses(what):
            return
        if self._held is not None:
            self._held.append(arrive)
            return
        arrive()
        if self.waits_after(what):
            self._held = []

    @property
    def is_holding(self) -> bool:
        """Whether something was held back."""
        return bool(self._held)

    def release(self) -> None:
        """Let everything through again, beginning with what was held back."""
        held, self._held, self.waits_after = self._held or [], None, lambda _what: False
        for arrive in held:
            arrive()

    async def hears(self, wanted: Callable[[Any], bool], what: str) -> None:
        """Wait until something was heard."""
        await eventually(lambda: any(map(wanted, self.heard)), what)
