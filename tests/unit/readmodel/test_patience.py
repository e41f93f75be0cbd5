"""A time limit that a stalled loop does not use up."""

import asyncio
import socket
import time

import pytest

from readmodel.runtime.patience import SLICES, patience


async def test_what_never_comes_is_given_up() -> None:
    """After about the time that was given."""
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with patience(0.05):
            await asyncio.Event().wait()

    assert time.monotonic() - began >= 0.05


async def test_what_comes_in_time_is_taken() -> None:
    """And nothing is left behind that would strike later."""
    async with patience(0.01):
        await asyncio.sleep(0)
    await asyncio.sleep(0.03)


async def test_a_stall_uses_up_one_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop stands still for many times the limit, and what it waits for has come meanwhile."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    loop, stalled = asyncio.get_running_loop(), 0.0
    monkeypatch.setattr(loop, "time", lambda: time.monotonic() + stalled)
    async with patience(5.0):
        for _ in range(SLICES - 1):
            theirs.send(b"x")
            stalled += 15.0
            assert await reader.read(1) == b"x"
    monkeypatch.undo()
    writer.close()
    await writer.wait_closed()
    theirs.close()
