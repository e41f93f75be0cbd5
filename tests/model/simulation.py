"""One simulation from one seed, alone in its process' time."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any
from unittest import mock

import redis
from structlog.testing import capture_logs

from projector.view.scripts import source as writing_source
from readmodel.runtime.supervise import end
from readmodel.view.scripts import source
from tests.model.clockwork import LeapingLoop, virtual_clocks
from tests.model.conditions import small_bounds, small_script
from tests.model.nodes import Nodes
from tests.model.planting import Plant, planted
from tests.model.simulated_redis import Store
from tests.model.world import World

SLICED = "sliced"
"""Named among the faults and deeds of a plant whose rule is one of slices."""
SHARE_SLICED = 0.4
NODES = 2

CLOCK = "simulation:clock"
"""What a real Redis' clock shows is no virtual time: its scripts read the time here instead."""


class Inline(Executor):
    """Runs what it is given at once: a thread would take its time from another clock than all else."""

    def __init__(self, *_: object) -> None:
        pass

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run it."""
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


@contextmanager
def altered_scripts(alter: Callable[[str, str], str]) -> Iterator[None]:
    """Have the project load its scripts with another text, which `alter(name, text)` gives."""

    def read(name: str) -> str:
        return alter(name, source(name))

    def write(name: str) -> str:
        return alter(name, writing_source(name))

    with ExitStack() as stack:
        for name in ("projector.view.writer.source", "projector.served_check.source"):
            stack.enter_context(mock.patch(name, write))
        stack.enter_context(mock.patch("readmodel.view.reader.source", read))
        yield


def simulate(
    seed: int,
    connect: Callable[[int], "redis.Redis"],
    plant: Plant | None = None,
    only: Collection[str] = (),
    *,
    real: bool = False,
) -> Counter[str]:
    """Run one simulation, with `only` these faults and deeds if any are named; a `real` Redis has a clock of its own.

    `connect` opens a server by its number: there is one for each node of the view. SLICED among `only` has the view
    cut into slices; else it is whole where anything is named, and cut in some seeds where nothing is.

    Gives how many answers came from where, and how often which fault struck. Raises Wrong.
    """

    def alter(name: str, text: str) -> str:
        text = small_script(name, plant.in_script(name, text) if plant else text)
        return text.replace("redis.call('TIME')", f"redis.call('HMGET', '{CLOCK}', 's', 'us')") if real else text

    loop, chance = LeapingLoop(), Random(seed)
    with ExitStack() as stack:
        stack.enter_context(virtual_clocks(loop))
        stack.enter_context(mock.patch("query_api.memory.content_coding.ThreadPoolExecutor", Inline))
        told = stack.enter_context(capture_logs())
        stack.enter_context(altered_scripts(alter))
        stack.enter_context(planted(plant))
        slices = _slices(chance, only)
        stores = [Store(connect(number), chance, CLOCK if real else "") for number in range(_nodes(chance, slices))]
        for store in stores:
            store.growing = frozenset({str(store.client.script_load(alter("apply", writing_source("apply"))))})
            stack.callback(store.close)
        stack.enter_context(_set(loop))
        world = World(chance, Nodes(stores, slices, chance), told, only)
        with small_bounds(world.open_tail, world.connect, chance, loop.time):
            loop.run_until_complete(world.run())
    return world.counts() + Counter({"scripts together": sum(store.scripts_together for store in stores)})


@contextmanager
def _set(loop: LeapingLoop) -> Iterator[None]:
    """Set the loop for the block; in the end nothing of it is left."""
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        loop.run_until_complete(end(asyncio.all_tasks(loop)))
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()


def _slices(chance: Random, only: Collection[str]) -> int:
    """Draw how many slices the view is cut into."""
    is_cut = SLICED in only if only else chance.random() < SHARE_SLICED
    return chance.choice((2, 2, 3, 4)) if is_cut else 1


def _nodes(chance: Random, slices: int) -> int:
    """Draw how many servers they are on."""
    return 1 if slices == 1 or chance.random() < 0.2 else NODES
