"""Delays between tries."""

import random
from itertools import islice

import pytest

from readmodel.runtime.backoff import delays


class Most(random.Random):
    """Chance that always gives the greatest."""

    def random(self) -> float:
        return 1.0


def test_delays_double_up_to_the_cap() -> None:
    """Without jitter: 0.1, 0.2, 0.4, … and never more than the cap."""
    assert list(islice(delays(0.1, 1.0, Most()), 7)) == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0])


def test_jitter_takes_away_half_at_most() -> None:
    """A retry never follows at once, and two clients seldom retry together."""
    chance, exact = random.Random(1), list(islice(delays(0.1, 5.0, Most()), 200))
    jittered = list(islice(delays(0.1, 5.0, chance), 200))

    assert all(whole / 2 <= delay <= whole for delay, whole in zip(jittered, exact, strict=True))
    assert len(set(jittered)) == 200


def test_two_iterators_are_two_clients() -> None:
    """By default each has chance of its own."""
    assert list(islice(delays(), 5)) != list(islice(delays(), 5))


def test_a_first_delay_past_the_cap_is_kept_once() -> None:
    """Whoever asks for a long first wait gets it; doubling does not go on from there."""
    assert list(islice(delays(8.0, 5.0, Most()), 3)) == [8.0, 5.0, 5.0]
