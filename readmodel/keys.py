"""The Redis key schema: every name that readside uses, all in one hash slot."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """Names under one prefix in one numbered database; the tag {0} is the (only) partition.

    Channels carry the number of the database, since Redis shares them between its databases.
    """

    prefix: str
    database: int = 0

    @property
    def base(self) -> str:
        """What every key begins with; the scripts append `s:`, `e:` or `i:` and a session id."""
        return f"{self.prefix}:{{0}}:"

    @property
    def position(self) -> str:
        """Hash: term, n, as-of and what belongs to them."""
        return f"{self.base}position"

    @property
    def hot(self) -> str:
        """Sorted set: hot session ids by last activity, ms since 1970 by Redis' clock. It may err."""
        return f"{self.base}hot"

    @property
    def projectors(self) -> str:
        """Hash: projector id to its own last report, JSON."""
        return f"{self.base}projectors"

    @property
    def apis(self) -> str:
        """Hash: API process id to its own last report, JSON."""
        return f"{self.base}apis"

    @property
    def changes(self) -> str:
        """Channel: one message a batch."""
        return f"{self.base}changes:{self.database}"

    @property
    def requests(self) -> str:
        """Channel: what the leading projector is asked."""
        return f"{self.base}requests:{self.database}"

    def replies(self, request_id: str) -> str:
        """Channel: the answers to one request."""
        return f"{self.base}replies:{self.database}:{request_id}"

    def header(self, session_id: str) -> str:
        """Hash: what must be there of one session."""
        return f"{self.base}s:{session_id}"

    def events(self, session_id: str) -> str:
        """Sorted set: an event's JSON by its timestamp, µs since 1970."""
        return f"{self.base}e:{session_id}"

    def index(self, session_id: str) -> str:
        """Sorted set, all scores 0: the packed (type, timestamp, id) of the same events."""
        return f"{self.base}i:{session_id}"

    def staging(self, name: str) -> str:
        """Prefix of a load's keys while they are filled; `apply` renames them."""
        return f"{self.base}stage:{name}:"
