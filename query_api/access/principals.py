"""Who asks, once let in: a key by its name, or a token's subject; and how much each may ask."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from math import ceil
from typing import Literal

BURST_SECONDS = 5.0
"""Who has been silent may ask so many seconds' worth at once (the contract's figure)."""
MAX_SUBJECTS = 10_000
"""Subjects of tokens that are told apart; of more, the one that has been silent longest begins anew."""

Kind = Literal["key", "token", "anybody"]


class RateLimit:
    """A token bucket, kept as one instant (the generic cell rate algorithm): when it will be full again."""

    __slots__ = ("_burst", "_full_at", "_seconds_each")

    def __init__(self, per_second: float) -> None:
        self._seconds_each = 1 / per_second
        self._burst = max(BURST_SECONDS, self._seconds_each)  # one request is always allowed
        self._full_at = 0.0

    def take(self, now: float) -> bool:
        """Take one request, if there is one left. `now` is monotonic seconds."""
        full_at = max(self._full_at, now) + self._seconds_each
        if full_at - now > self._burst + 1e-9:
            return False
        self._full_at = full_at
        return True

    def wait_seconds(self, now: float) -> int:
        """Whole seconds until one is left, at least one."""
        return max(1, ceil(self._full_at + self._seconds_each - self._burst - now))


class Principal:
    """One who asks. `requests` and `refusals` count what was let in, and what was refused after that."""

    __slots__ = ("kind", "name", "rate_limit", "refusals", "requests")

    def __init__(self, kind: Kind, name: str, per_second: float | None) -> None:
        self.kind: Kind = kind
        self.name = name
        self.rate_limit = None if per_second is None else RateLimit(per_second)
        self.requests = self.refusals = 0

    def takes(self, now: float) -> bool:
        """Take one request; False where the principal has asked too much. `now` is monotonic seconds."""
        self.requests += 1
        rate_limit = self.rate_limit
        return rate_limit is None or rate_limit.take(now)

    def wait_seconds(self, now: float) -> int:
        """Whole seconds until it may ask again, at least one."""
        return 1 if self.rate_limit is None else self.rate_limit.wait_seconds(now)


class Principals:
    """All who have been let in. They outlive their keys and tokens: counts and limits go on when these are renewed."""

    def __init__(self, per_second: float | None = None) -> None:
        self._per_second = per_second
        self._keys: dict[str, Principal] = {}
        self._subjects: OrderedDict[object, Principal] = OrderedDict()
        self._left = Principal("token", "", None)  # counts of subjects that are told apart no longer
        self.anybody = Principal("anybody", "", per_second)

    def of_key(self, name: str) -> Principal:
        """Whoever shows a key of this name."""
        return self._keys.setdefault(name, Principal("key", name, self._per_second))

    def of_token(self, subject: object) -> Principal:
        """Whoever shows a token of this subject."""
        known = self._subjects.get(subject)
        if known is None:
            known = self._subjects[subject] = Principal("token", "", self._per_second)
            if len(self._subjects) > MAX_SUBJECTS:
                _, left = self._subjects.popitem(last=False)
                self._left.requests += left.requests
                self._left.refusals += left.refusals
        self._subjects.move_to_end(subject)
        return known

    def counts(self) -> Iterator[tuple[Kind, str, int, int]]:
        """(kind, name, requests, refusals): of each key, of all tokens together, of those who need neither."""
        for key in self._keys.values():
            yield "key", key.name, key.requests, key.refusals
        tokens = (self._left, *self._subjects.values())
        yield "token", "", sum(one.requests for one in tokens), sum(one.refusals for one in tokens)
        yield "anybody", "", self.anybody.requests, self.anybody.refusals
