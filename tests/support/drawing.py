"""Examples of Hypothesis for tests that are coroutines: drawn beforehand, the same in every run."""

from __future__ import annotations

from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

Example = TypeVar("Example")


def drawn(strategy: SearchStrategy[Example], count: int) -> list[Example]:
    """Draw so many examples."""
    examples: list[Example] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(strategy)
    def draw(example: Example) -> None:
        examples.append(example)

    draw()
    return examples
