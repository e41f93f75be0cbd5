"""Both ways in, side by side, on the event loop of production and on Python's own."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from unittest import mock

import pytest
import uvloop

from query_api import poll_interval
from tests.doorway.twins import Twins, twins


@pytest.fixture(scope="module", params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """The loop of production, and Python's own."""
    with asyncio.Runner(loop_factory=request.param) as made:
        yield made


@pytest.fixture(scope="module")
def both(runner: asyncio.Runner) -> Iterator[Twins]:
    """The two servers."""
    with ExitStack() as stack:
        # One of them may be busier than the other.
        stack.enter_context(mock.patch.object(poll_interval, "BUSY_LATENESS_SECONDS", float("inf")))
        opened = twins()
        yield runner.run(opened.__aenter__())
        stack.callback(lambda: runner.run(opened.__aexit__(None, None, None)))
