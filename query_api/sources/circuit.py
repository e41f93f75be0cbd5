"""Remembering for a second that a store is away, so that polls do not wait for it; says each change once in the log."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from readmodel.errors import ServiceError

RETRY_SECONDS = 1.0
KNOWN_SECONDS = 10.0
"""After so long without another try a failure tells nothing of now."""

_log = structlog.get_logger(__name__)


class Circuit:
    """One store's last word. After a failure one caller a second tries; the others are told the failure at once.

    `node` names the server in the log, where the store is several.
    """

    def __init__(self, store: str, clock: Callable[[], float] = time.monotonic, node: str = "") -> None:
        self._named = {"store": store, "node": node} if node else {"store": store}
        self._clock = clock
        self._failure: ServiceError | None = None
        self._retry_at = 0.0
        self._answered_at = -1.0

    @property
    def failure(self) -> ServiceError | None:
        """Why the store is taken to be away; None while it answers."""
        return self._failure

    @property
    def is_away(self) -> bool:
        """Whether the last call failed, not long ago: where nobody calls, nobody knows."""
        return self._failure is not None and self._clock() < self._retry_at + KNOWN_SECONDS

    def admit(self) -> None:
        """Let a call through; raises an error like the last failure while the store is taken to be away."""
        if self._failure is None:
            return
        now = self._clock()
        if now < self._retry_at:
            raise type(self._failure)(str(self._failure))
        self._retry_at = now + RETRY_SECONDS

    def succeeded(self) -> None:
        """Note that the store answered."""
        self._answered_at = self._clock()
        if self._failure is not None:
            _log.info("store answers again", **self._named)
            self._failure = None

    def failed(self, error: ServiceError, called_at: float) -> None:
        """Note that a call failed which began at `called_at`; it is no outage if others were answered since."""
        if self._answered_at > called_at:
            return
        if self._failure is None or str(self._failure) != str(error):
            _log.warning("store is away", **self._named, error=str(error))
        self._failure = error
        self._retry_at = self._clock() + RETRY_SECONDS
