"""The pages on which gzip's levels are measured, and what is measured of them."""

import gzip
from random import Random

import orjson

from bench.gzip_levels import cost, page
from readmodel.poll import MAX_LIMIT


def test_a_page_is_one_that_the_api_could_answer() -> None:
    """So many events, each with all its fields, none like another."""
    answered = orjson.loads(page(MAX_LIMIT, Random(1)))

    assert len({item["id"] for item in answered["items"]}) == answered["total"] == MAX_LIMIT
    assert answered["items"][0].keys() == {
        "id", "session_id", "step_id", "event_type", "event_data", "message", "timestamp"
    }  # fmt: skip


def test_a_level_is_measured() -> None:
    """Its time and its size."""
    body = page(100, Random(1))
    found = cost(body, 6, rounds=3)

    assert (found.level, found.size) == (6, len(gzip.compress(body, 6)))
    assert found.ms > 0
