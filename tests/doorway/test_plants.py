"""The streams see bugs: each that is planted in the doorway makes an answer different before long."""

import asyncio

import pytest
import uvloop

from tests.doorway.comparison import compared, for_all_streams
from tests.doorway.plants import PLANTS
from tests.doorway.streams import Stream
from tests.doorway.twins import Pair
from tests.model.planting import planted

PLANTED_STREAMS = 400
"""As many as `make test` sends on each loop; most bugs need a tenth of them."""

pytestmark = pytest.mark.parametrize("runner", [uvloop.new_event_loop], ids=["uvloop"], indirect=True, scope="module")


class Found(Exception):
    """A stream was answered differently."""


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_bug_is_found(runner: asyncio.Runner, pair: Pair, plant: str) -> None:
    """A bug against one rule makes answers differ from those of uvicorn's own protocol."""
    different: list[Stream] = []

    def alike(stream: Stream) -> None:
        if not different:
            try:
                compared(runner, pair.both, stream)
            except AssertionError:
                different.append(stream)
                pair.renew()
        if different:
            raise Found

    with planted(PLANTS[plant]), pytest.raises(Found):
        for_all_streams(alike, PLANTED_STREAMS, shrinks=False)
