"""What the figures were measured on: the machine, the versions, and how busy it was with other work."""

import os
import platform
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

BUSY_SHARE = 0.15
"""More than this of all cores taken by others just before or after: the figures say so."""
_SAMPLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Machine:
    """The caption of a table. `busy_share` is the part of all cores that others took just before or after, or None."""

    name: str
    processor: str
    cores: int
    system: str
    python: str
    postgres: str
    redis: str
    load_generator: str
    busy_share: float | None
    measured_at: str

    def caption(self) -> str:
        """Say it in a sentence."""
        return (
            f"Measured on {self.measured_at[:10]} on {self.name} "
            f"({self.cores} cores, {self.processor}, {self.system}): "
            f"Python {self.python}, PostgreSQL {self.postgres}, Redis {self.redis}, {self.load_generator}, "
            "all on this one machine."
        )


def describe(*, name: str | None, postgres: str, redis: str, load_generator: str, busy_share: float | None) -> Machine:
    """Describe this machine; `name` in place of its host name."""
    return Machine(
        name=name or platform.node(),
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        postgres=postgres.split(" ", 1)[0],
        redis=redis,
        load_generator=load_generator,
        busy_share=busy_share,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def busy_share() -> float | None:
    """Watch the machine for a second while nothing is measured; None where it does not tell (not Linux)."""
    first = _ticks()
    time.sleep(_SAMPLE_SECONDS)
    last = _ticks()
    if first is None or last is None or last[0] == first[0]:
        return None
    return 1 - (last[1] - first[1]) / (last[0] - first[0])


def _ticks() -> tuple[int, int] | None:
    """All cores' ticks until now, and how many of them were idle."""
    try:
        fields = [int(field) for field in Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:9]]
    except OSError:
        return None
    return sum(fields), fields[3] + fields[4]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
