"""What every race stands on: real servers, the triggers installed, and nobody who mends by himself."""

from collections.abc import AsyncIterator
from copy import deepcopy

import pytest

from projector.core.letters import Letters
from projector.tail.letterbox import Letterbox, Reading
from query_api.memory.response_cache import ResponseCache
from query_api.sources import view_reads
from tests.support.barriers import Ear
from tests.support.projecting import Bench, bench
from tests.support.racing import NEVER_SECONDS


@pytest.fixture(autouse=True)
def patch(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Held reads may be slow."""
    monkeypatch.setattr(view_reads, "READ_SECONDS", 30.0)
    return monkeypatch


@pytest.fixture
def letters(patch: pytest.MonkeyPatch) -> list[Letters]:
    """What each reading of the leader told."""
    told: list[Letters] = []
    read = Letterbox.read

    async def noted(self: Letterbox, *, beat: bool, busy: bool) -> Reading:
        reading = await read(self, beat=beat, busy=busy)
        told.append(deepcopy(reading.letters))
        return reading

    patch.setattr(Letterbox, "read", noted)
    return told


@pytest.fixture
def changes(patch: pytest.MonkeyPatch) -> Ear:
    """The messages about batches that the API hears."""
    return Ear.of(patch, ResponseCache, "hear")


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """A writer, and readers of both stores; each test runs its own projector."""
    async with bench(database_url, redis_url, drift_round_seconds=NEVER_SECONDS) as made:
        yield made
