"""Which mutants are tried, which of them the tests noticed, and whether those are enough."""

import random
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

WANTED = 0.8
"""At least so many of those tried are to be noticed."""
NOTICED = frozenset({"killed", "timeout", "segfault"})
"""What mutmut says of a mutant that made a test fail, hang or crash. All else lives, "no tests" as well."""
_LINE = re.compile(r"^ +(\S+__mutmut_\d+): ([a-z ]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Score:
    """How many mutants were tried, and the names of those that nobody noticed."""

    tried: int
    alive: tuple[str, ...]

    @property
    def share(self) -> float:
        """The noticed ones' part."""
        return (self.tried - len(self.alive)) / self.tried

    @property
    def enough(self) -> bool:
        """Whether the tests notice what they should."""
        return self.share >= WANTED

    def text(self) -> str:
        """Say it in a sentence."""
        noticed = self.tried - len(self.alive)
        verdict = "enough" if self.enough else "too few"
        return f"{noticed} of {self.tried} mutants were noticed ({self.share:.0%}); {WANTED:.0%} are wanted: {verdict}."


def statuses(results: str) -> dict[str, str]:
    """Read what `mutmut results --all true` prints: each mutant's name, and what became of it."""
    return dict(_LINE.findall(results))


def sample(names: Collection[str], count: int, seed: int) -> list[str]:
    """Choose mutants at random, the same ones for the same seed; all of them where there are fewer."""
    chosen = random.Random(seed).sample(sorted(names), min(count, len(names)))
    return sorted(chosen)


def score(tried: Collection[str], status: Mapping[str, str]) -> Score:
    """Count the mutants that were tried. One of which nothing is known was not noticed."""
    return Score(len(tried), tuple(name for name in tried if status.get(name) not in NOTICED))
