"""A bounded number of places, shared fairly between those who ask: each principal waits in a line of its own."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from math import ceil
from typing import Generic, TypeVar

ASKED_SECONDS = 10.0
"""Who asked so lately still counts: its next poll shall find a place that is free, and a server that is not busy."""
ALONE_PART = 2
"""One that asks alone holds so small a part of the places."""
BESIDE_PART = 2
"""While others ask it holds so small a part of that: few enough that their queries are not much slower, and no fewer,
since one that asks a little must not slow one that asks much to less than half."""
LONG_SECONDS = 0.01
"""One whose queries take so much longer than the cheapest holds half as many again: they are large, or the server is
busy, and either way each slows all others."""
SPARE_PART = 4
"""So small a part of the places is kept for principals that hold none: whoever comes anew does not wait for others."""
MAX_IDLE = 1_000
"""Principals without a query of which the time that they had is remembered: the longest idle is forgotten."""

Item = TypeVar("Item", bound=Hashable)


class Share(Generic[Item]):
    """What one principal takes: the places that it holds, the seconds that it had of them, and its line.

    `usual` is what one of its queries takes beyond the cheapest, the latest counting most. Seconds are counted from
    what the others had when it came: who was idle has nothing saved up.
    """

    __slots__ = ("held", "principal", "seconds", "usual", "waiting")

    def __init__(self, principal: Hashable, seconds: float) -> None:
        self.principal = principal
        self.seconds = seconds
        self.usual = 0.0
        self.held = 0
        self.waiting: OrderedDict[Item, None] = OrderedDict()


class FairLine(Generic[Item]):
    """Hands out places to those who wait: first to who holds fewest, and of these to who had least time.

    `most_each` may wait in one principal's line, `most` in all of them. Nothing here waits by itself: after each `join`
    and `give_back` take as long as there is something to take. Each costs a look at every principal that waits, which
    `most` bounds.
    """

    def __init__(self, places: int, *, most_each: int, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._free = places
        self._most_each = most_each
        self._most = most
        self._clock = clock
        self._spare = places // SPARE_PART
        self._places = places
        self.cheapest_seconds = 0.0
        """What a query takes that finds nothing: the way to the server and back, however far it is."""
        self._lines: dict[Hashable, Share[Item]] = {}  # of those who wait
        self._busy: dict[Hashable, Share[Item]] = {}  # of those who wait or hold a place
        self._idle: OrderedDict[Hashable, Share[Item]] = OrderedDict()  # the longest idle first
        self._seconds = 0.0
        self._last: tuple[Hashable, float] = (object(), float("-inf"))
        self._last_other = float("-inf")
        self.waiting = 0

    @property
    def crowded(self) -> bool:
        """Whether some wait for others to leave, and not only behind what their own principal asked for."""
        return self.waiting > 0 and self._free <= self._spare

    @property
    def principals_waiting(self) -> int:
        """How many principals wait."""
        return len(self._lines)

    def asked(self, principal: Hashable) -> None:
        """Note that a principal asks, whether or not it will wait."""
        who, at = self._last
        if who != principal:
            self._last_other = at
        self._last = principal, self._clock()

    def join(self, principal: Hashable, item: Item) -> Item | None:
        """Have an item wait at the end of its principal's line; give the one that leaves unserved for it, if any.

        That is the item itself where its own line is full, or all are and none is longer than its own.
        """
        share = self._busy.get(principal)
        length = len(share.waiting) if share else 0
        if length >= self._most_each:
            return item
        left = None
        if self.waiting >= self._most:
            longest = max(self._lines.values(), key=lambda share: len(share.waiting))
            if len(longest.waiting) <= length + 1:
                return item
            left = next(reversed(longest.waiting))
            self._remove(longest, left)
        share = share or self._awaken(principal)
        share.waiting[item] = None
        self._lines[principal] = share
        self.waiting += 1
        return left

    def leave(self, principal: Hashable, item: Item) -> None:
        """Have an item wait no longer; one that does not wait is nothing to it."""
        share = self._lines.get(principal)
        if share is not None and item in share.waiting:
            self._remove(share, item)

    def take(self) -> tuple[Hashable, Item] | None:
        """Hand a place to the next in turn: its principal, and the item that waits no longer. None: not now."""
        share = self._next()
        if share is None:
            return None
        item = next(iter(share.waiting))
        self._free -= 1
        share.held += 1
        self._seconds = max(self._seconds, share.seconds)
        self._remove(share, item)
        return share.principal, item

    def give_back(self, principal: Hashable, seconds: float) -> None:
        """Take a place back that the principal had for so long."""
        share = self._busy[principal]
        self._free += 1
        share.held -= 1
        share.seconds += seconds
        share.usual += (max(0.0, seconds - self.cheapest_seconds) - share.usual) / 4
        self._rest(share)

    def _next(self) -> Share[Item] | None:
        if not self._free or not self._lines:
            return None
        who, at = self._last
        since = self._clock() - ASKED_SECONDS
        best: Share[Item] | None = None
        for principal, share in self._lines.items():
            others = self._last_other if principal == who else at
            if share.held >= most_of_one(self._places, beside=others > since, long=share.usual > LONG_SECONDS):
                continue
            if share.held and self._free <= self._spare:
                continue
            if best is None or (share.held, share.seconds) < (best.held, best.seconds):
                best = share
        return best

    def _awaken(self, principal: Hashable) -> Share[Item]:
        share = self._idle.pop(principal, None) or Share(principal, self._seconds)
        share.seconds = max(share.seconds, self._seconds)
        self._busy[principal] = share
        return share

    def _remove(self, share: Share[Item], item: Item) -> None:
        del share.waiting[item]
        self.waiting -= 1
        if not share.waiting:
            del self._lines[share.principal]
            self._rest(share)

    def _rest(self, share: Share[Item]) -> None:
        """Move what neither waits nor holds a place to the idle ones."""
        if share.held or share.waiting:
            return
        del self._busy[share.principal]
        self._idle[share.principal] = share
        if len(self._idle) > MAX_IDLE:
            self._idle.popitem(last=False)


def most_of_one(places: int, *, beside: bool, long: bool) -> int:
    """How many places one principal may hold: `beside` others that ask, and where its queries are `long`.

    Beside others it is no less than half of what it is alone: one that asks a little must not hold up another.
    """
    most = ceil(places / ALONE_PART)
    if beside:
        most = ceil(most / BESIDE_PART)
    return ceil(most / 2) if long else most
