"""Who is asked where the keys are: most must tell, the rest may."""

import asyncio

import pytest

from readmodel.redis.moving import answers


async def after(turns: int, said: str) -> str:
    """Tell after some turns of the loop."""
    for _ in range(turns):
        await asyncio.sleep(0)
    return said


async def silent() -> str:
    """Never tell."""
    await asyncio.Event().wait()
    return ""


async def test_who_is_a_little_slower_is_heard_too() -> None:
    """To cut it short would close its connection, with each time that all are asked."""
    said, wrong = await answers([after(0, "a"), after(0, "b"), after(20, "c"), after(40, "d")])

    assert (sorted(said), wrong) == (["a", "b", "c", "d"], [])


async def test_who_is_silent_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once most have told: while fewer have, a test would not live to see the end."""
    monkeypatch.setattr("readmodel.redis.moving.READING_SECONDS", 3600.0)
    said, wrong = await answers([after(0, "a"), after(0, "b"), silent()])

    assert (sorted(said), wrong) == (["a", "b"], [])
