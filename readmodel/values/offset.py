"""A place in a session's stream, as its readers keep it: opaque to them, sorted as text in the order of the cuts.

The cut's xmax (14 hex digits) and 65,535 less the number of open ids (4) sort. `origin` (8) follows, then these ids, as
gaps from xmax downwards in Elias' gamma code, as base64 for URLs (RFC 4648). A place within a long answer adds the
event reached and the cut up to which the answer goes.
"""

from __future__ import annotations

import base64
import hashlib
import re
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple

from readmodel.errors import InvalidParameter
from readmodel.values.cut import Cut

MAX_OFFSET_CHARS = 255
"""The protocol's bound: fewer than 256."""
ALONE_BITS, BESIDE_BITS = 1_368, 480
"""What the open ids of a cut may take that is alone, and of each of two: about 500 and 150 of a busy server's."""
MAX_OPEN = 65_535
MAX_TOLD = 512
"""Open ids that an offset tells at most: as many letters could tell three times as many, and each takes memory."""
ID_BYTES = 100
"""What an id in a set of them takes in memory, about."""
_HEAD = re.compile(r"([0-9a-f]{14})([0-9a-f]{4})([0-9a-f]{8})?([A-Za-z0-9_-]*)")
_PLACE = re.compile(r"([0-9a-f]{16})([0-9a-f]{32})")
_SIGN = 2**63
_ACCEPTS = "an offset that this stream gave, -1 for its start, or now for its end"


class Within(NamedTuple):
    """A place in the middle of a long answer that goes up to a cut: behind the event with this instant (µs) and id."""

    upto: Cut
    timestamp_us: int
    id: bytes


class Offset(NamedTuple):
    """All that `cut` shows was given, and of what `within.upto` shows beyond it all up to its event.

    `origin` says of which history of which database.
    """

    origin: str
    cut: Cut
    within: Within | None = None

    @property
    def text(self) -> str:
        """What readers get. Of a cut with too many open ids as many are told as there is room for: more comes again."""
        if self.within is None:
            return _written(self.cut, ALONE_BITS, self.origin)
        upto, timestamp_us, event_id = self.within
        place = f"{timestamp_us + _SIGN:016x}{event_id.hex()}"
        return f"{_written(self.cut, BESIDE_BITS, self.origin)}.{place}.{_written(upto, BESIDE_BITS)}"


def origin_of(database: str, incarnation: int) -> str:
    """Name the history of a database: its identity, and the number that it loses where it may have lost commits."""
    return hashlib.sha256(f"{database} {incarnation}".encode()).hexdigest()[:8]


def parse_offset(text: str) -> Offset:
    """Read an offset; raises InvalidParameter unless it is one that `Offset.text` writes."""
    offset = _read(text) if len(text) <= MAX_OFFSET_CHARS else None
    if offset is None:
        raise InvalidParameter("offset", f"offset must be {_ACCEPTS}, not {text[:60]!a}.")
    return offset


@lru_cache(maxsize=512)  # a follower sends what it was given, and many follow one session
def _read(text: str) -> Offset | None:
    head, *rest = text.split(".")
    beginning = _HEAD.fullmatch(head)
    if beginning is None or beginning[3] is None or len(rest) not in {0, 2}:
        return None
    cut = _cut(beginning)
    if cut is None or not rest:
        found = cut and Offset(beginning[3], cut)
    else:
        place, end = _PLACE.fullmatch(rest[0]), _HEAD.fullmatch(rest[1])
        upto = _cut(end) if end is not None else None
        if place is None or upto is None:
            return None
        found = Offset(beginning[3], cut, Within(upto, int(place[1], 16) - _SIGN, bytes.fromhex(place[2])))
    return found if found is not None and found.text == text else None


@lru_cache(maxsize=16)  # many followers are given the same cut, and an answer's places share two
def _written(cut: Cut, most_bits: int, origin: str = "") -> str:
    """Write a cut; where its open ids take too much, the first that is left out ends it: what is later is not shown."""
    kept = sorted(cut.running)
    limits = [*kept, cut.xmax]
    fitting = bisect_right(list(accumulate(_bits(lower, upper) for lower, upper in pairwise(limits))), most_bits)
    fitting = min(fitting, MAX_TOLD)
    kept, xmax = kept[:fitting], limits[min(fitting, len(kept))]
    bits = _gaps(xmax, kept)
    packed = int(bits or "0", 2) << (-len(bits) % 8)
    told = base64.urlsafe_b64encode(packed.to_bytes((len(bits) + 7) // 8, "big")).decode().rstrip("=")
    return f"{xmax:014x}{MAX_OPEN - len(kept):04x}{origin}{told}"


def _bits(lower: int, upper: int) -> int:
    """How many bits a gap takes."""
    return 2 * (upper - lower).bit_length() - 1


def _gaps(xmax: int, running: list[int]) -> str:
    """The bits of open ids, the highest first: each gap as so many zeros as it has digits but one, and itself."""
    bits, above = [], xmax
    for txid in reversed(running):
        gap = f"{above - txid:b}"
        bits.append("0" * (len(gap) - 1) + gap)
        above = txid
    return "".join(bits)


def _cut(told: re.Match[str]) -> Cut | None:
    xmax, count = int(told[1], 16), MAX_OPEN - int(told[2], 16)
    if count > MAX_TOLD:
        return None
    try:
        packed = base64.urlsafe_b64decode(told[4] + "=" * (-len(told[4]) % 4))
    except ValueError:
        return None
    bits, at, running = "".join(f"{byte:08b}" for byte in packed), 0, []
    above = xmax
    for _ in range(count):
        one = bits.find("1", at)
        end = 2 * one - at + 1
        if one < 0 or end > len(bits):
            return None
        above -= int(bits[one:end], 2)
        running.append(above)
        at = end
    return Cut(xmax, frozenset(running)) if above >= 0 else None


def memory_of(offset: Offset | None) -> int:
    """Tell how many bytes an offset that was read takes in memory, about, beside the object: its open ids do."""
    if offset is None:
        return 0
    told = len(offset.cut.running) + (len(offset.within.upto.running) if offset.within else 0)
    return told * ID_BYTES
