"""The arrival log of a hot session, a list of chunks, as `apply.lua` writes and `stream.lua` reads it.

A chunk is a line with a cut (origin, xmax, open ids, blanks between), and the arrivals that led to it, end to end:
the top-level transaction (8 bytes, big endian) and the event's entry as in the type index. The session is what the cut
shows. Of the first chunk the cut alone counts: there the log begins.
"""

from __future__ import annotations

from readmodel.values.cut import Cut, cut_of
from readmodel.view.type_index import ENTRY_BYTES

TXID_BYTES = 8
ARRIVAL_BYTES = TXID_BYTES + ENTRY_BYTES


def pack_txid(txid: int) -> bytes:
    """Pack a transaction's id."""
    return txid.to_bytes(TXID_BYTES, "big")


def pack_cut(snapshot: str) -> str:
    """Write a snapshot's cut as a chunk has it, without its origin; "" where there is none."""
    cut = cut_of(snapshot)
    return " ".join(map(str, [cut.xmax, *sorted(cut.running)])) if snapshot else ""


def unpack_cut(line: bytes) -> tuple[str, Cut]:
    """Read a chunk's line: its origin and its cut."""
    origin, xmax, *running = line.split()
    return origin.decode(), Cut(int(xmax), frozenset(map(int, running)))
