"""What handing over costs: every request is answered, through the doorway and by uvicorn alone."""

import asyncio

import pytest

from bench.rows import handed_over
from bench.rows.handed_over import AnswerSink, costs_us
from bench.table import BenchError


async def test_both_ways_are_measured_by_round() -> None:
    """Each request gets its answer, or the measurement fails."""
    ours, alone = await costs_us(2, requests=3)

    assert (len(ours), len(alone)) == (2, 2)
    assert min(ours + alone) > 0


async def test_requests_without_an_answer_count_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would be the quickest of all."""
    monkeypatch.setattr(handed_over, "_connected", lambda *_args, **_options: (asyncio.Protocol(), AnswerSink()))

    with pytest.raises(BenchError, match="0 of 3 requests were answered"):
        await costs_us(1, requests=3)
