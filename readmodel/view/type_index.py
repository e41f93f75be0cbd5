"""The type index of a session, as `scripts/index.lua` describes it: packed for staging, unpacked for comparing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from readmodel.values.event import SCORE_BOUND

ENTRY_BYTES = 24
CHUNK_ENTRIES = 42
Entry = bytes
Entries = Mapping[str, Sequence[bytes]]
"""Entries by type name, oldest first."""
_CHUNK_BYTES = CHUNK_ENTRIES * ENTRY_BYTES


def pack_entry(score: int, event_id: bytes) -> bytes:
    """Pack an event's instant (µs since 1970) and its 16 byte id so that byte order is their order."""
    return (score + SCORE_BOUND).to_bytes(8, "big") + event_id


def unpack_score(entry: bytes) -> int:
    """The instant of an entry, µs since 1970."""
    return int.from_bytes(entry[:8], "big") - SCORE_BOUND


def entries_of(packed: bytes | bytearray) -> list[bytes]:
    """The entries that lie end to end."""
    packed = bytes(packed)
    return [packed[start : start + ENTRY_BYTES] for start in range(0, len(packed), ENTRY_BYTES)]


def pack_index(entries: Entries) -> dict[str, bytes | int]:
    """The index' fields."""
    fields: dict[str, bytes | int] = {"#": sum(map(len, entries.values()))}
    for name, listed in entries.items():
        fields[name] = len(listed)
        packed = b"".join(listed)
        for start in range(0, len(packed), _CHUNK_BYTES):
            fields[f"{name}/{start // _CHUNK_BYTES}"] = packed[start : start + _CHUNK_BYTES]
    return fields


def unpack_index(fields: Mapping[bytes, bytes]) -> frozenset[tuple[str, bytes]] | None:
    """An index' entries with their types; None where it is not as `pack_index` would make it."""
    left = dict(fields)
    entries: list[tuple[str, bytes]] = []
    for field in fields:
        if field != b"#" and b"/" not in field:
            name = field.decode("utf-8", "replace")
            listed = b"".join(_chunks(left, field))
            own = entries_of(listed)
            if sorted(set(own)) != own or left.pop(field) != b"%d" % len(own):
                return None
            entries += [(name, entry) for entry in own]
    whole = left.pop(b"#", b"0") == b"%d" % len(entries) and not left
    return frozenset(entries) if whole else None


def _chunks(fields: dict[bytes, bytes], name: bytes) -> Iterator[bytes]:
    """Take the chunks of one type, in order."""
    number = 0
    while (chunk := fields.pop(b"%b/%d" % (name, number), None)) is not None:
        yield chunk
        number += 1
