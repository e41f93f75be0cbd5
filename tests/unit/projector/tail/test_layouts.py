"""Partitions as the leader asks for them: not before everybody may know them."""

from typing import Any, cast

import pytest

from projector.tail import letterbox
from projector.tail.connection import Tail
from projector.tail.letterbox import Letterbox, but_for_partitions, shape_of
from readmodel.postgres.sql import Tables


class FakeTail:
    """Answers with one list of rows after another."""

    def __init__(self, *answers: list[dict[str, Any]]) -> None:
        self.answers = list(answers)

    async def rows(self, _sql: str) -> list[dict[str, Any]]:
        """The next."""
        return self.answers.pop(0)


def row(part: str, *, settled: bool) -> dict[str, Any]:
    """A partition, and whether whoever attached it has let go of its locks."""
    return {"part": part, "settled": settled, "layout": f"of {part}"}


async def test_a_partition_counts_once_its_locks_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before that a statement of ours may read the table without it, though a snapshot shows it."""
    monkeypatch.setattr(letterbox, "SETTLING_SECONDS", 0.0)
    early, late = [row("1", settled=True), row("2", settled=False)], [row("1", settled=True), row("2", settled=True)]
    tail = FakeTail(early, early, late)
    box = Letterbox(cast("Tail", tail), Tables.within("public", "public", partitioned=True), "readside", 1)

    assert await box.layouts() == {"1": "of 1", "2": "of 2"}
    assert tail.answers == []


def test_the_shape_is_of_partitions_too() -> None:
    """In whatever order they are told; without any it is the tables' alone."""
    fingerprint = "t" * 32 + "p" * 32 + "s" * 32
    two = {"1": "a", "2": "b"}

    assert shape_of(fingerprint) == shape_of(fingerprint, {}) == "s" * 32
    assert shape_of(fingerprint, two) == shape_of(fingerprint, dict(reversed(two.items())))
    assert len({shape_of(fingerprint, layouts) for layouts in ({}, two, {"1": "a"}, {"1": "b", "2": "a"})}) == 4
    assert len(shape_of(fingerprint, two)) == 32


def test_a_fingerprint_but_for_its_partitions() -> None:
    """What must not change for a term to go on."""
    assert but_for_partitions("t" * 32 + "p" * 32 + "s" * 32) == "t" * 32 + "s" * 32
