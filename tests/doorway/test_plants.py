"""The streams see bugs: each that is planted in the doorway makes an answer different before long."""

import asyncio

import pytest
import uvloop

from tests.doorway.comparison import compared, drawn_streams
from tests.doorway.plants import PLANTS
from tests.doorway.streams import Stream
from tests.doorway.twins import Pair
from tests.model.planting import planted

PLANTED_STREAMS = 400
"""The slowest to be found needs a quarter of them, most need a tenth."""

pytestmark = pytest.mark.parametrize("runner", [uvloop.new_event_loop], ids=["uvloop"], indirect=True, scope="module")


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_bug_is_found(runner: asyncio.Runner, pair: Pair, plant: str) -> None:
    """A bug against one rule makes answers differ from those of uvicorn's own protocol."""
    drawn = drawn_streams(PLANTED_STREAMS)
    with planted(PLANTS[plant]):
        found = any(_differs(runner, pair, stream) for stream in drawn)
    pair.renew()

    assert found


def _differs(runner: asyncio.Runner, pair: Pair, stream: Stream) -> bool:
    """Whether both answer it differently."""
    try:
        compared(runner, pair.both, stream)
    except AssertionError:
        return True
    return False
