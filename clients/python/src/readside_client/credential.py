"""Who asks, as a state machine: a key, a token, or what a function gives before the last has ended; no I/O.

The function is called when there is nothing yet, when four fifths of the token's life are over, and when the API
refuses what was good before. It is not called again at once when it fails, gives the same again, or gives what the API
refuses: then the calls wait longer and longer, up to half a minute.
"""

from __future__ import annotations

import json
import logging
import math
import random
import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from typing import Any

from readside_client.backoff import Backoff
from readside_client.errors import Unauthorized, Unavailable

LONGEST = 8_000
RENEWED_AFTER = 0.8
"""Of what is left of a token's life when it comes."""
SHORTEST_WAIT_SECONDS = 0.5

_log = logging.getLogger("readside_client")
_THREE_PARTS = re.compile(r"([\w-]+)\.([\w-]+)\.([\w-]+)", re.ASCII)


class RenewableCredential:
    """Holds what is sent: `given`, or where it `renews` what a function gives, whose results are handed to `take`.

    `clock` is monotonic, `wall` tells seconds since 1970. Whoever calls the function sees to it that nobody else does.
    """

    def __init__(
        self,
        given: str | None,
        *,
        renews: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        chance: random.Random | None = None,
    ) -> None:
        self.renews = renews
        self._clock = clock
        self._wall = wall
        self._backoff = Backoff(chance)
        self._held = given
        self._over = renews
        self._proven = False
        self._renew_at = math.inf
        self._retry_at = -math.inf
        self._reason = ""

    def is_due(self) -> bool:
        """Whether the function is to be called before the next request."""
        now = self._clock()
        return self.renews and now >= self._retry_at and (self._over or now >= self._renew_at)

    @property
    def over(self) -> bool:
        """Whether there is nothing good to send."""
        return self._over

    @property
    def wait_seconds(self) -> float:
        """How long the function is left alone."""
        return max(0.0, self._retry_at - self._clock())

    def headers(self) -> dict[str, str]:
        """The headers to send; raises Unavailable while there is nothing good."""
        if self._over:
            raise Unavailable(self._reason, retry_after_seconds=self.wait_seconds)
        return headers_for(self._held)

    def take(self, given: object) -> None:
        """Take what the function gave; raises Unauthorized for None, which means that there are no more."""
        if given is None:
            raise Unauthorized(401, "There are no more tokens.")
        if not isinstance(given, str) or not is_header_text(given):
            self.failed("What the function gave is no token.")
        elif given == self._held:
            self.failed("The function gave the same token again.")
        else:
            self._held, self._over, self._proven, self._retry_at = given, False, False, -math.inf
            self._renew_at = self._clock() + RENEWED_AFTER * _seconds_left(given, self._wall())

    def failed(self, reason: str) -> None:
        """Note why there is no fresh one: the next call waits."""
        seconds = max(SHORTEST_WAIT_SECONDS, self._backoff.next_seconds())
        self._reason, self._retry_at = reason, self._clock() + seconds
        if not self._over:
            _log.warning("%s The one at hand serves while it is good. Again in %.1f s.", reason, seconds)

    def accepted(self, sent: Mapping[str, str]) -> None:
        """Note that the API took what was sent."""
        if sent == headers_for(self._held) and not self._proven:
            self._proven = True
            self._backoff.reset()

    def refused(self, sent: Mapping[str, str]) -> bool:
        """Note that the API refused what was sent; True where asking again at once is worth it."""
        if not self.renews:
            return False
        if self._over or sent != headers_for(self._held):
            return True  # another thread or task has, or is calling for, a fresh one
        was_good = self._proven
        self._over, self._proven = True, False
        if not was_good:
            self.failed("The API refuses what the function gives.")
        return was_good


def is_header_text(text: str) -> bool:
    """Tell whether a header can hold it, and it is something."""
    return text.isascii() and text.isprintable() and " " not in text and text != ""


def is_token(text: str) -> bool:
    """Tell whether a text has the form of a token: three base64url parts, whose first is a JSON object."""
    found = _THREE_PARTS.fullmatch(text) if len(text) <= LONGEST else None
    return found is not None and _object_in(found[1]) is not None


def headers_for(credential: str | None) -> dict[str, str]:
    """The header for a token, or for a key; none for None."""
    if credential is None:
        return {}
    return {"authorization": f"Bearer {credential}"} if is_token(credential) else {"x-api-key": credential}


def _object_in(part: str) -> dict[str, Any] | None:
    try:
        read = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def _seconds_left(token: str, now: float) -> float:
    """How long a token that has just come is good for; by `iat`, where there is one, if the clock here is wrong."""
    claims = (_object_in(token.split(".")[1]) if is_token(token) else None) or {}
    end, begin = _instant(claims.get("exp")), _instant(claims.get("iat"))
    if end is None:
        return math.inf
    left = end - now
    life = end - begin if begin is not None and begin < end else math.inf
    return left if 0 < left <= life else life


def _instant(claim: object) -> float | None:
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        return None
    try:
        return float(claim) if math.isfinite(claim) else None
    except OverflowError:
        return None
