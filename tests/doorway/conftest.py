"""Both ways in, side by side, on the event loop of production and on Python's own."""

import asyncio
from collections.abc import Iterator
from unittest import mock

import pytest
import uvloop

from query_api.polls import poll_interval
from tests.doorway.twins import Pair, Twins


@pytest.fixture(scope="module", params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """The loop of production, and Python's own."""
    with asyncio.Runner(loop_factory=request.param) as made:
        yield made


@pytest.fixture(scope="module")
def pair(runner: asyncio.Runner) -> Iterator[Pair]:
    """The two servers, which can be had anew."""
    # One of them may be busier than the other.
    with mock.patch.object(poll_interval, "BUSY_LATENESS_SECONDS", float("inf")), Pair(runner) as made:
        yield made


@pytest.fixture
def both(pair: Pair) -> Twins:
    """The two servers."""
    return pair.both
