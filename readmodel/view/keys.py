"""The Redis key schema: every name that readside uses in one slice of the view, all in one hash slot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from readmodel.values.event import ENCODING_VERSION

FIRST_TAG = "0"
"""The hash tag of a view's first slice, however many it has: there its number of slices is found."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Names under one prefix in one numbered database, in the slice with this hash tag, one of `slices`.

    Channels carry the number of the database, since Redis shares them between its databases. Where they are `sharded`
    they belong to the slice's hash slot, and not to a whole Redis Cluster.
    """

    prefix: str
    database: int = 0
    tag: str = FIRST_TAG
    slices: int = 1
    sharded: bool = False

    @property
    def version(self) -> str:
        """How the view is written: the encoding, and into how many slices it is cut where it is more than one."""
        return ENCODING_VERSION if self.slices == 1 else f"{ENCODING_VERSION}/{self.slices}"

    @property
    def publish(self) -> Literal["PUBLISH", "SPUBLISH"]:
        """The command that sends a message to our channels."""
        return "SPUBLISH" if self.sharded else "PUBLISH"

    @property
    def base(self) -> str:
        """What every key begins with; the scripts append `s:`, `e:`, `i:` or `l:` and a session id."""
        return f"{self.prefix}:{{{self.tag}}}:"

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
        return f"{self.base}changes:{self._audience}"

    @property
    def requests(self) -> str:
        """Channel: what the leading projector is asked."""
        return f"{self.base}requests:{self._audience}"

    def replies(self, request_id: str) -> str:
        """Channel: the answers to one request."""
        return f"{self.base}replies:{self._audience}:{request_id}"

    @property
    def _audience(self) -> str:
        """Who talks on a channel: whoever takes the view to have more slices would miss what others are told."""
        return f"{self.database}" if self.slices == 1 else f"{self.database}/{self.slices}"

    def header(self, session_id: str) -> str:
        """Hash: what must be there of one session."""
        return f"{self.base}s:{session_id}"

    def events(self, session_id: str) -> str:
        """Sorted set: an event's JSON by its timestamp, µs since 1970."""
        return f"{self.base}e:{session_id}"

    def index(self, session_id: str) -> str:
        """Sorted set, all scores 0: the packed (type, timestamp, id) of the same events."""
        return f"{self.base}i:{session_id}"

    def log(self, session_id: str) -> str:
        """List: the arrival log of a session, chunk by chunk."""
        return f"{self.base}l:{session_id}"

    def staging(self, name: str) -> str:
        """Prefix of a load's keys while they are filled; `apply` renames them."""
        return f"{self.base}stage:{name}:"


def slices_in(version: str) -> int:
    """Read the number of slices off a view's version."""
    _, _, count = version.partition("/")
    return int(count) if count.isdecimal() else 1


def other_slices(found: str, ours: str) -> str | None:
    """Say how a view of one version and a process of another disagree about the slices; None where they agree."""
    there, here = slices_in(found), slices_in(ours)
    return None if there == here else f"the view has {there}, and this process is set to {here}"
