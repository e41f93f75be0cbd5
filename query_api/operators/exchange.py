"""One scrape tells of all workers: each publishes its metrics in a file, and who is scraped adds those of the others.

A counter of the sum never goes back, or Prometheus would take it for a restart and count everything again: whoever is
scraped publishes first, so that no later sum lacks what an earlier one held, and who starts in a dead worker's place
goes on where that one ended.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import structlog
from prometheus_client.core import Metric

GONE_SECONDS = 5.0
"""Who published nothing for so long is dead or frozen: its counters stay, its gauges say nothing of now."""

_log = structlog.get_logger(__name__)

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
"""Values by sample name and labels."""
Merge = Callable[[float, float], float]
Published = dict[str, Samples]
"""Samples by the name of their family."""


class Exchange:
    """What the workers of one API tell each other; without a directory there is one worker.

    `merge` says how gauges become one, by family; those that it does not name are added up.
    """

    def __init__(self, slot: Path | None, merge: dict[str, Merge], clock: Callable[[], float] = time.monotonic) -> None:
        self._slot = slot
        self._merge = merge
        self._clock = clock  # all processes of a machine share it
        self._before = _read(slot)[1] if slot else {}
        self._told = False

    def publish(self, own: Iterable[Metric]) -> None:
        """Write this worker's metrics where the others find them; what cannot be written must stop no poll."""
        if self._slot is not None:
            try:
                self._write(self._slot, own)
            except OSError as error:
                if not self._told:
                    _log.warning("the other workers cannot tell of this one's metrics", error=str(error))
                self._told = True

    def _write(self, slot: Path, own: Iterable[Metric]) -> None:
        families = [
            [metric.name, [[*key, value] for key, value in self._with_before(metric).items()]] for metric in own
        ]
        draft = slot.with_suffix(".draft")
        draft.write_bytes(orjson.dumps([self._clock(), families]))
        draft.replace(slot)

    def everybodys(self, own: list[Metric]) -> list[Metric]:
        """Publish this worker's metrics, and give those of all workers together."""
        if self._slot is None:
            return own
        self.publish(own)
        told = [_read(path) for path in sorted(self._slot.parent.glob("*.json")) if path != self._slot]
        now = self._clock()
        return [self._together(metric, [(now - at < GONE_SECONDS, theirs) for at, theirs in told]) for metric in own]

    def _with_before(self, metric: Metric) -> Samples:
        samples = _samples(metric)
        if metric.type != "gauge":
            _add(samples, self._before.get(metric.name, {}), _sum)
        return samples

    def _together(self, metric: Metric, told: list[tuple[bool, Published]]) -> Metric:
        samples = self._with_before(metric)
        for lives, theirs in told:
            if lives or metric.type != "gauge":
                _add(samples, theirs.get(metric.name, {}), self._merge.get(metric.name, _sum))
        made = Metric(metric.name, metric.documentation, metric.type)
        for (name, labels), value in samples.items():
            made.add_sample(name, dict(labels), value)
        return made


@contextmanager
def taking_part(directory: str, merge: dict[str, Merge]) -> Iterator[Exchange]:
    """Take a place of our own in the directory for as long as the block lasts; "" for a worker that is alone.

    The kernel gives a place back when its worker dies, however it dies: there are never more than workers at a time.
    """
    if not directory:
        yield Exchange(None, merge)
        return
    slot, handle = _take_place(Path(directory))
    try:
        yield Exchange(slot, merge)
    finally:
        os.close(handle)


def _take_place(directory: Path) -> tuple[Path, int]:
    for place in count():
        handle = os.open(directory / f"{place}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
        else:
            return directory / f"{place}.json", handle
    raise AssertionError("there is always another place")


def _read(path: Path) -> tuple[float, Published]:
    try:
        at, families = orjson.loads(path.read_bytes())
    except OSError:  # nobody was here yet, or nobody can tell
        return 0.0, {}
    return at, {
        name: {(sample, _labels(labels)): value for sample, labels, value in samples} for name, samples in families
    }


def _samples(metric: Metric) -> Samples:
    return {(sample.name, tuple(sample.labels.items())): sample.value for sample in metric.samples}


def _labels(pairs: list[list[Any]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in pairs)


def _add(samples: Samples, more: Samples, merge: Merge) -> None:
    for key, value in more.items():
        samples[key] = merge(samples[key], value) if key in samples else value


def _sum(one: float, other: float) -> float:
    return one + other
