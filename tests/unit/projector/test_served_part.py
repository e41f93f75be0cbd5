"""What is wrong with a part of a session as it is served, judged from Postgres' rows alone."""

import hashlib
from typing import Any
from uuid import UUID

import pytest

from projector.core.served_part import LogRow, ServedPart, read_part
from readmodel.view.type_index import pack_entry
from tests.support.viewing import event

SID, OTHER = "11111111-aaaa-4aaa-8aaa-000000000001", "11111111-aaaa-4aaa-8aaa-000000000002"
NOON = 1_768_314_600_000_000
ONE = event(SID, NOON, "a", UUID(int=1))
TWO = event(SID, NOON + 1, "b", UUID(int=2))


def key(one: Any = ONE) -> tuple[str, bytes]:
    """How Postgres' rows are found."""
    return one.session_id, one.id


def row(one: Any = ONE, **changes: object) -> LogRow:
    """An event in Postgres."""
    digest = hashlib.md5(one.member, usedforsecurity=False).digest()
    return LogRow(one.session_id, one.score, one.event_type, "1", digest)._replace(**changes)  # type: ignore[arg-type]


def part() -> ServedPart:
    """Two events, of which the type index lists both."""
    members = [ONE.member, b"%d" % NOON, TWO.member, b"%d" % (NOON + 1)]
    chunks = [b"a", 0, pack_entry(NOON, ONE.id), b"", b"b", 0, pack_entry(NOON + 1, TWO.id), b""]
    return read_part(SID, members, chunks)


def test_what_postgres_holds_as_well_is_right() -> None:
    """Bytes, score, type and place."""
    read = part()

    assert read.ordered
    assert [one.id for one in read.members] == [one.id for one in read.entries] == [ONE.id, TWO.id]
    assert list(read.wrong({key(): row(), key(TWO): row(TWO)})) == []


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"digest": b"x" * 16}, 1),
        ({"digest": None}, 1),
        ({"score": NOON + 5}, 2),
        ({"score": None}, 2),
        ({"session_id": OTHER}, 2),
        ({"type_name": "c"}, 1),
        ({"version": "9"}, 0),
    ],
)
def test_what_postgres_holds_otherwise_is_wrong(changed: dict[str, object], wrong: int) -> None:
    """As a member, as an entry of the index, or as both; a version alone tells nothing."""
    found = list(part().wrong({key(): row(**changed), key(TWO): row(TWO)}))

    assert [one.id for one in found] == [ONE.id] * wrong


def test_what_postgres_does_not_hold_is_wrong() -> None:
    """And so is what is no event at all."""
    nothing = read_part(SID, [b"none of ours", b"5"], [])

    assert len(list(part().wrong({key(): row()}))) == 2
    assert [one.id for one in nothing.wrong({})] == [None]


@pytest.mark.parametrize("chunks", [
    [b"a", 0, pack_entry(NOON + 1, TWO.id) + pack_entry(NOON, ONE.id), b""],
    [b"a", 0, pack_entry(NOON, ONE.id) * 2, b""],
    [b"a", 1, pack_entry(NOON, ONE.id), pack_entry(NOON + 1, TWO.id)],
    [b"a", 1, pack_entry(NOON, ONE.id), pack_entry(NOON, ONE.id)],
])  # fmt: skip
def test_entries_out_of_order_are_known_at_once(chunks: list[Any]) -> None:
    """Within a chunk, or from one to the next."""
    assert not read_part(SID, [], chunks).ordered


def test_a_member_without_a_score_is_no_answer_of_ours() -> None:
    """The script gives them in pairs."""
    with pytest.raises(ValueError, match="shorter"):
        read_part(SID, [ONE.member, b"%d" % NOON, TWO.member], [])
