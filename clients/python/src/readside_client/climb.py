"""Reading the pages of a burst, from the oldest that may hold something new up to the first."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from readside_client.model import Page


@dataclass
class Climb:
    """Where a climb is: oldest pages first, so that events come in order and need not be gathered.

    Pages are counted from the newest event, and events that arrive meanwhile push the others to later pages. So what is
    covered is counted from the oldest event, where arrivals change nothing.
    """

    depth: int
    page: int
    covered: int
    """How many of the oldest events were read, or are taken for known."""
    total: int
    whole: bool
    """Begun at the very last page."""
    misses: int = 0
    """Answers in a row that lacked some below them."""
    idle: int = 0
    """Answers in a row that brought it no further."""
    seen: set[str] = field(default_factory=set)

    @classmethod
    def from_depth(cls, depth: int, total: int, limit: int) -> Climb:
        """Begin at the page `depth`, or at the very last one where that is not far."""
        pages = pages_of(total, limit)
        start = depth if 2 * depth < pages else pages
        return cls(depth, start, max(0, total - start * limit), total, whole=start == pages)

    def lacks_below(self, page: Page, limit: int) -> bool:
        """Tell whether so much arrived meanwhile that events between the page and what is covered were not read."""
        return page.total - self.page * limit > self.covered

    def again(self, total: int, limit: int) -> None:
        """Ask lower, after an answer that lacks some below it."""
        self.misses += 1
        self.idle += 1
        self._aim(total, limit)

    def read(self, page: Page, limit: int) -> bool:
        """Note that the page was read; True at the top, else the next one is to be asked."""
        self.misses = 0
        if self.whole:
            self.seen.update(event.id for event in page.items)
        covered = page.total - (self.page - 1) * limit
        self.idle = 0 if covered > self.covered else self.idle + 1
        self.covered = max(self.covered, covered)
        if self.page == 1:
            return True
        self._aim(page.total, limit)
        return False

    def forget(self, count: int, known: Container[str]) -> None:
        """Note that the oldest are no longer asked for, and need no longer be known."""
        self.covered -= count
        self.total -= count
        self.seen = {event_id for event_id in self.seen if event_id in known}

    def _aim(self, total: int, limit: int) -> None:
        """Ask for the page that will end where the covered begin, if as many arrive as since the last answer."""
        arriving = max(0, total - self.total)
        self.page = max(1, pages_of(total + arriving - self.covered, limit))
        self.total = total


def pages_of(count: int, limit: int) -> int:
    """How many pages hold so many events."""
    return -(-count // limit)
