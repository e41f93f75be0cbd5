"""What is wrong with a part of a session as polls would be served it, judged from Postgres' rows of the same events.

The view is read (A), then Postgres (P), then the view again once its as-of has passed P's instant (B), then Postgres
again (Q). So B holds all that P saw. Where P and Q give the same version of a row, or none, it was so all the time:
what A and B hold otherwise is wrong for certain. What contradicts itself is wrong at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from readmodel.values.ids import member_id
from readmodel.view.type_index import entries_of, pack_entry


class LogRow(NamedTuple):
    """An event in Postgres; `digest` is the MD5 of its JSON, None where it was not asked for."""

    session_id: str
    score: int | None
    type_name: str
    version: str
    digest: bytes | None


class ServedMember(NamedTuple):
    """A member of the event set, with its score; `id` is None where it is no event of ours."""

    id: bytes | None
    member: bytes
    score: float


class ServedEntry(NamedTuple):
    """An entry of the type index, and in which chunk of which type it stands."""

    id: bytes
    type_name: str
    chunk: int
    entry: bytes


@dataclass(frozen=True, slots=True)
class ServedPart:
    """Members and entries of one session, read in one instant; `ordered` tells that no entry is out of its place."""

    session_id: str
    members: tuple[ServedMember, ...] = ()
    entries: tuple[ServedEntry, ...] = ()
    ordered: bool = True

    def wrong(self, rows: Mapping[tuple[str, bytes], LogRow]) -> Iterator[ServedMember | ServedEntry]:
        """What Postgres holds otherwise, or not at all."""
        for one in self.members:
            row = rows.get((self.session_id, one.id)) if one.id else None
            wanted = row and (row.session_id, row.score, row.digest)
            if wanted != (self.session_id, one.score, hashlib.md5(one.member, usedforsecurity=False).digest()):
                yield one
        for entry in self.entries:
            row = rows.get((self.session_id, entry.id))
            if (
                row is None
                or row.score is None
                or (self.session_id, entry.type_name, entry.entry)
                != (
                    row.session_id,
                    row.type_name,
                    pack_entry(row.score, entry.id),
                )
            ):
                yield entry


def read_part(session_id: str, members: list[bytes], chunks: list[Any]) -> ServedPart:
    """Read what `served.lua` gives."""
    entries: list[ServedEntry] = []
    ordered = True
    for start in range(0, len(chunks), 4):
        name, number, chunk, before = chunks[start : start + 4]
        own = entries_of(chunk)
        places = [before, *own] if before else own
        ordered = ordered and sorted(set(places)) == places
        kind = name.decode("utf-8", "replace")
        entries += [ServedEntry(entry[8:], kind, number, entry) for entry in own]
    pairs = zip(members[::2], members[1::2], strict=True)
    served = tuple(ServedMember(_id_of(member), member, float(score)) for member, score in pairs)
    return ServedPart(session_id, served, tuple(entries), ordered)


def _id_of(member: bytes) -> bytes | None:
    match = member_id(member)
    return UUID(match[1].decode()).bytes if match else None
