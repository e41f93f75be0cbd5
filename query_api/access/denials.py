"""What is refused, and why: counted by reason, and told to the log once a minute of each address at most."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import structlog

from query_api.access.principals import Principal
from query_api.access.tokens import REASONS as TOKEN_REASONS
from query_api.http.problems import problem
from query_api.http.reply import Reply
from query_api.http.request_id import nobodys

AUDIT_SECONDS = 60.0
"""The log takes a line about one address at most so often."""
MAX_ADDRESSES = 4_096
"""Addresses that are told apart; what others do is told together."""
REASONS = (
    *("no_key", "unknown_key", "twice", "scope", "session", "staleness", "rate", "host"),
    *(f"token_{reason}" for reason in TOKEN_REASONS),
)
"""Why requests are refused, in the metrics' words."""
OTHERS = "others"
REALM = b'Bearer realm="readside"'

_log = structlog.get_logger(__name__)


class Denial(NamedTuple):
    """A request that goes no further: why, in the metrics' words, and what it is told.

    `waits`: the key that its token is signed with may be known in a moment.
    """

    reason: str
    reply: Reply
    principal: Principal | None = None
    waits: bool = False


def unauthorized(
    reason: str, detail: str, *, challenge: bytes = b', error="invalid_token"', waits: bool = False
) -> Denial:
    """Build a 401."""
    return Denial(reason, problem(401, detail, headers=[(b"www-authenticate", REALM + challenge)]), None, waits)


def forbidden(reason: str, detail: str, principal: Principal, scope: str) -> Denial:
    """Build a 403."""
    challenge = b'%b, error="insufficient_scope", scope="%b"' % (REALM, scope.encode())
    return Denial(reason, problem(403, detail, headers=[(b"www-authenticate", challenge)]), principal)


def too_many(principal: Principal, seconds: int) -> Denial:
    """Build a 429."""
    detail = f"This key or token asks more often than it may; try again in {seconds} s."
    return Denial("rate", problem(429, detail, headers=[(b"retry-after", b"%d" % seconds)]), principal)


class _Address:
    __slots__ = ("reasons", "told_at")

    def __init__(self) -> None:
        self.told_at = float("-inf")
        self.reasons: Counter[str] = Counter()


class Denials:
    """Counts refusals, and keeps the audit."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.counts = Counter(dict.fromkeys(REASONS, 0))
        self._addresses: dict[str, _Address] = {}
        self._others = _Address()

    def note(self, denial: Denial, address: str) -> None:
        """Take down one refusal. `address` is where the connection comes from, "" where that has none."""
        self.counts[denial.reason] += 1
        if denial.principal is not None:
            denial.principal.refusals += 1
        now, known = self._clock(), self._of(address)
        known.reasons[denial.reason] += 1
        if now - known.told_at >= AUDIT_SECONDS:
            self._tell(OTHERS if known is self._others else address, known, now)

    def tell_due(self) -> None:
        """Tell what was refused after an address was last told of, a minute later: who fell silent is told of, too.

        Forget who was silent for that minute: that makes room for others.
        """
        now = self._clock()
        for address, known in [(OTHERS, self._others), *self._addresses.items()]:
            if now - known.told_at < AUDIT_SECONDS:
                continue
            if known.reasons:
                self._tell(address, known, now)
            elif known is not self._others:
                del self._addresses[address]

    def _of(self, address: str) -> _Address:
        known = self._addresses.get(address)
        if known is None:
            if len(self._addresses) >= MAX_ADDRESSES:
                return self._others
            known = self._addresses[address] = _Address()
        return known

    def _tell(self, address: str, known: _Address, now: float) -> None:
        # Of several requests: the line bears the id of none.
        nobodys().run(_log.warning, "requests refused", address=address, refused=dict(known.reasons))
        known.told_at = now
        known.reasons.clear()
