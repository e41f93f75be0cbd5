"""What an API process remembers of a projection's terms, starts and errors."""

from typing import Any

from query_api.operators.projection_changes import KEPT, ProjectionChange, ProjectionChanges
from readmodel.view.projection import Projection, SliceState

AT = "2026-01-13T14:30:00.000000Z"
LATER = "2026-01-13T14:31:00.000000Z"
ERROR = {"at": AT, "text": "PostgreSQL went."}


def report(**facts: Any) -> dict[str, Any]:
    """A projector's report."""
    return {"host": "a.example", "pid": 7, "started_at": AT, "errors": [], **facts}


def noted(*projections: Projection) -> list[ProjectionChange]:
    """What is kept of looks at these, all at `LATER`."""
    log = ProjectionChanges()
    for projection in projections:
        log.note(LATER, projection)
    return log.kept


def part(index: int, term: str) -> SliceState:
    """A slice in this term."""
    return SliceState(index, "n:1", "live", None, AT, 5, 0, term, 1)


def test_a_term_is_told_when_it_takes_the_place_of_another() -> None:
    """Not at the first look: it may have begun long before; not twice; not when nobody leads in between."""
    first, none, second = (Projection("live", term=term) for term in ("a" * 32, None, "b" * 32))

    assert noted(first, first) == []
    assert noted(first, none, first, second, second) == [ProjectionChange(LATER, "term", "Term bbbbbbbb began.")]


def test_terms_of_slices_are_told_together() -> None:
    """By the numbers of their slices."""
    before = Projection("live", slices=tuple(part(index, "a") for index in range(12)))
    after = Projection("live", slices=tuple(part(index, "b" if index > 1 else "a") for index in range(12)))

    assert noted(before, after) == [
        ProjectionChange(LATER, "term", "New terms began in slices 2, 3, 4, 5, 6, 7, 8, 9, ….")
    ]


def test_a_start_is_told_once_and_at_its_own_time() -> None:
    """Of a projector, whatever its role, and of an API process."""
    projection = Projection("live", leader=report(), standbys=(report(pid=8),), apis=({**report(pid=9)},))

    assert noted(projection, projection) == [
        ProjectionChange(AT, "started", "API process 9 started on a.example."),
        ProjectionChange(AT, "started", "Projector 7 started on a.example."),
        ProjectionChange(AT, "started", "Projector 8 started on a.example."),
    ]


def test_a_status_is_told_when_it_turns() -> None:
    """With its reason; and when all is well again."""
    live, down = Projection("live"), Projection("down", reason="No projector leads.")

    assert [change.text for change in noted(live, live, down, down)] == ["The view is down: No projector leads."]
    assert ProjectionChange(LATER, "status", "The view is live again.") in noted(down, live)


def test_an_error_outlives_the_leader_that_had_it() -> None:
    """And its successor, which may tell it again."""
    failed, silent = Projection("live", leader={"errors": [ERROR]}), Projection("down")

    assert [change for change in noted(failed, silent, failed) if change.kind == "error"] == [
        ProjectionChange(AT, "error", "PostgreSQL went.")
    ]


def test_reports_of_another_version_tell_nothing() -> None:
    """Whatever they hold."""
    odd = Projection("live", leader={"errors": "many", "started_at": 7}, standbys=({"errors": [None, {"at": 1}]},))

    assert noted(odd) == []


def test_the_oldest_go() -> None:
    """A projector that fails for ever fills no memory."""
    errors = [{"at": f"2026-01-13T14:30:00.{number:06}Z", "text": "x" * 9_000} for number in range(KEPT + 10)]
    kept = noted(Projection("live", leader={"errors": errors}))

    assert [len(kept), kept[0].at[-7:-1], len(kept[0].text)] == [KEPT, "000010", 500]
