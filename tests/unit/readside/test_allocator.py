"""What is freed is kept: buffers that come and go cost no page faults."""

import ctypes
import subprocess
import sys

import pytest

from readside.allocator import keep_freed_memory

_FAULTS = """
import resource, sys
from readside.allocator import keep_freed_memory

def churn():
    for size in (47_000, 120_000, 1_000_000):
        buffers = [b"x" * size for _ in range(3)]

if sys.argv[1] == "kept":
    keep_freed_memory()
churn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    churn()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", _FAULTS, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_buffers_that_come_and_go_cost_no_page_faults() -> None:
    """By default each round asks the kernel for hundreds of pages again."""
    assert _faults("kept") < 1_000
    assert _faults("default") > 10_000


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other C libraries have no such options; the program runs on them all the same."""
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    keep_freed_memory()
