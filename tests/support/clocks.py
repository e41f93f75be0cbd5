"""The API's clocks, moved on by a test: a minute need not be waited for, and no stall makes it come too soon."""

import sys
import time

import pytest


class _Later:
    """Stands in for the module `time`: its clocks are ahead."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def monotonic(self) -> float:
        """Seconds of the steady clock."""
        return time.monotonic() + self._seconds

    def time(self) -> float:
        """Seconds since 1970."""
        return time.time() + self._seconds

    def time_ns(self) -> int:
        """Nanoseconds since 1970."""
        return time.time_ns() + int(self._seconds * 1e9)


def move_on(patch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have the API see its clocks so far ahead; the event loop's own timers, and the test, see them as they are."""
    later = _Later(seconds)
    for name, module in list(sys.modules.items()):
        if name.startswith("query_api.") and getattr(module, "time", None) is time:
            patch.setattr(module, "time", later)
