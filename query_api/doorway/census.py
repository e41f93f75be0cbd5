"""The connections of one API process, counted: how many there are, how many there may be, which were ended and why."""

from __future__ import annotations

import asyncio
from typing import Literal, get_args

import structlog

Reason = Literal["full", "head_too_long", "head_too_slow", "idle", "untaken", "body_too_long", "malformed", "waiting"]
REASONS: tuple[Reason, ...] = get_args(Reason)

NEAR = 0.8
"""From this part of the bound on it is near."""
FAR = 0.7
"""Below this part it is near no more: between the two nothing is said again."""
LOOK_SECONDS = 1.0
"""How often the log looks at the census."""

_log = structlog.get_logger(__name__)


class Census:
    """Plain counters. Whoever counts a connection as opened counts it as closed too, whatever ended it.

    A connection that is refused as "full" was never opened: it takes no place. `bound` is how many there may be,
    `accepted` how many were ever opened, `ended` how many of them were ended by us, or refused, by reason.
    """

    __slots__ = ("accepted", "bound", "ended", "open")

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.open = 0
        self.accepted = 0
        self.ended: dict[Reason, int] = dict.fromkeys(REASONS, 0)

    def opened(self) -> None:
        """Count a connection that takes a place."""
        self.open += 1
        self.accepted += 1

    def closed(self) -> None:
        """Count one that leaves its place."""
        self.open -= 1

    def refused(self, reason: Reason) -> None:
        """Count one that passed a bound."""
        self.ended[reason] += 1

    @property
    def full(self) -> bool:
        """Whether there is no place for another one."""
        return self.open >= self.bound

    @property
    def near(self) -> bool:
        """Whether there are nearly as many as there may be."""
        return self.open >= NEAR * self.bound

    @property
    def usage(self) -> float:
        """The part of the places that is taken."""
        return self.open / self.bound


class CensusLog:
    """Says in the log when connections come near their bound and reach it: once each, until they are far from it."""

    def __init__(self, census: Census) -> None:
        self._census = census
        self._turned_away = 0
        self._told_near = self._told_full = False

    async def run(self) -> None:
        """Look again and again, for ever: a line for each connection would be what a crowd makes worse."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Say what is new. Who was turned away since the last look tells of a crowd that has gone by now."""
        census = self._census
        before, self._turned_away = self._turned_away, census.ended["full"]
        full = census.full or self._turned_away > before
        if self._told_near and not full and census.open < FAR * census.bound:
            self._told_near = self._told_full = False
            _log.info("connections are far from their bound again", connections=census.open, bound=census.bound)
        if (full or census.near) and not self._told_near:
            self._told_near = True
            _log.warning(
                "connections come near their bound: READSIDE_MAX_CONNECTIONS, or the limit of open files",
                connections=census.open,
                bound=census.bound,
            )
        if full and not self._told_full:
            self._told_full = True
            _log.warning(
                "no connection is left: new clients get 503 until others leave",
                connections=census.open,
                bound=census.bound,
                turned_away=census.ended["full"],
            )
