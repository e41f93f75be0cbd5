"""The slices that a view is cut into: which session is in which, and the hash tag of each."""

from __future__ import annotations

from binascii import crc_hqx
from dataclasses import dataclass, field
from functools import cache
from itertools import count as counting
from zlib import crc32

from readmodel.view.keys import FIRST_TAG, Keys

SLOTS = 16_384
"""The hash slots of a Redis Cluster."""
MAX_SLICES = 1_024
REPORT_SLICES = 3
"""Slices that hold the reports of projectors and APIs, spread over the slots: a master that is away hides none."""


def slot_of(name: str) -> int:
    """The hash slot of a tag, or of a name without one: the CRC16 of the Cluster specification."""
    return crc_hqx(name.encode(), 0) % SLOTS


@cache
def tags(count: int) -> tuple[str, ...]:
    """Each slice's hash tag: their slots are evenly spread, so that any number of masters share them evenly.

    Each is the smallest number whose slot is the one that is aimed at. The first is that of a view of one slice.
    """
    first = slot_of(FIRST_TAG)
    aims = [(first + place * SLOTS // count) % SLOTS for place in range(count)]
    wanted, found = set(aims), dict[int, str]()
    for number in counting():
        slot = slot_of(str(number))
        if slot in wanted:
            wanted.remove(slot)
            found[slot] = str(number)
        if not wanted:
            break
    return (FIRST_TAG, *(found[aim] for aim in aims[1:]))


@dataclass(frozen=True, slots=True)
class Slices:
    """The `count` slices of the view under a prefix, in a numbered database.

    `sharded`: channels are those of a Redis Cluster's shards.
    """

    prefix: str
    database: int = 0
    count: int = 1
    sharded: bool = False
    keys: tuple[Keys, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Name the keys of each slice."""
        made = (Keys(self.prefix, self.database, tag, self.count, self.sharded) for tag in tags(self.count))
        object.__setattr__(self, "keys", tuple(made))

    def index_of(self, session_id: str) -> int:
        """Tell which slice a session is in."""
        return crc32(session_id.encode()) % self.count

    def of(self, session_id: str) -> Keys:
        """The key schema of the slice that a session is in."""
        return self.keys[crc32(session_id.encode()) % self.count]

    @property
    def reporting(self) -> tuple[int, ...]:
        """Which slices hold the reports."""
        return tuple(sorted({place * self.count // REPORT_SLICES for place in range(REPORT_SLICES)}))
