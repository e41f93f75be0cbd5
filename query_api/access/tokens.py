"""What a token claims, and whether to believe it."""

from __future__ import annotations

from typing import NamedTuple


class Claims(NamedTuple):
    """What a good token says."""

    subject: str | None
    sessions: frozenset[str] | None
    expires_at: float


class BadToken(Exception):
    """A token that lets nobody in."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class KeyNotKnown(BadToken):
    """The key that it is signed with may be known in a moment."""
