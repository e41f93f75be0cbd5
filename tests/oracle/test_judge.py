"""The oracle's own judgement: what fits passes, and every kind of wrong answer is seen."""

from dataclasses import replace
from typing import Any

import pytest

from tests.oracle.histories import STEPS, Commit, Edit, Event
from tests.oracle.judge import Given, Question, Wrong, judge
from tests.oracle.ledger import Draft, Ledger

SESSION = "00000000-0000-4000-8000-000000000000"
FIRST_PAGE = Question(SESSION)


def event(number: int, kind: str = "step_created") -> Event:
    """An event at second `number`."""
    return Event(f"{number:08}-0000-4000-8000-000000000000", SESSION, kind, {"n": number}, None, number * 1_000_000)


def ledger(*numbers: int) -> Ledger:
    """A session made at 10, with these events committed between 20 and 30."""
    made = Ledger()
    made.acknowledge(made.send(Draft(created=[SESSION]), 10, "a"), 11)
    made.acknowledge(made.send(Draft(added=[event(number) for number in numbers]), 20, "b"), 30)
    return made


def answer(*numbers: int, total: int | None = None, question: Question = FIRST_PAGE) -> dict[str, Any]:
    """The body that shows these events."""
    total = len(numbers) if total is None else total
    pages = -(-total // question.limit)
    pagination = {
        "page": question.page,
        "per_page": question.limit,
        "total": total,
        "total_pages": pages,
        "has_next": question.page < pages,
        "has_prev": question.page > 1,
    }
    return {"items": [event(number).item() for number in numbers], "total": total, "pagination": pagination}


def check(
    known: Ledger, body: dict[str, Any] | None, as_of: int, received: int, question: Question | None = None
) -> None:
    """Judge an answer."""
    judge(known.sessions.get(SESSION), question or Question(SESSION), Given(as_of, received, body))


def test_the_oldest_first_is_another_order() -> None:
    """Each page is judged by the order that was asked for."""
    question = Question(SESSION, limit=2, oldest_first=True)
    check(ledger(1, 2, 3), answer(1, 2, total=3, question=question), 31, 40, question)
    for shown in ((2, 1), (2, 3), (1, 3)):
        with pytest.raises(Wrong):
            check(ledger(1, 2, 3), answer(*shown, total=3, question=question), 31, 40, question)


def test_what_is_of_no_step_that_was_asked_for_is_wrong() -> None:
    """Which step an event belongs to, its id tells."""
    step = event(3).step_id
    assert step is None
    question = Question(SESSION, steps=frozenset(STEPS))
    check(ledger(3), answer(question=question), 31, 40, question)
    with pytest.raises(Wrong):
        check(ledger(3), answer(3, question=question), 31, 40, question)


@pytest.mark.parametrize(
    ("body", "as_of"), [(answer(3, 2, 1), 31), (answer(3, 2, 1), 25), (answer(3, 1), 25), (answer(), 25)]
)
def test_what_may_be_is_accepted(body: dict[str, Any], as_of: int) -> None:
    """Everything that was committed for certain, and any of what may have been."""
    check(ledger(1, 2, 3), body, as_of, 40)


@pytest.mark.parametrize(
    "body",
    [
        None,
        answer(3, 1),
        answer(3, 2),
        answer(2, 3, 1),
        answer(3, 2, 2, 1),
        answer(4, 3, 2, 1),
        answer(3, 2, 1, total=4),
        {**answer(3, 2, 1), "pagination": answer(3, 2)["pagination"]},
        {**answer(3, 2, 1), "items": [{**item, "message": ""} for item in answer(3, 2, 1)["items"]]},
    ],
)
def test_what_cannot_be_is_refused(body: dict[str, Any] | None) -> None:
    """Gaps, strangers, doubles, disorder, false totals, a false 404, another content."""
    with pytest.raises(Wrong):
        check(ledger(1, 2, 3), body, 31, 40)


@pytest.mark.parametrize(("shown", "fits"), [((2,), True), ((3,), False), ((1,), False)])
def test_a_page_stands_at_its_offset(shown: tuple[int, ...], fits: bool) -> None:
    """The second page of one event each shows the second event."""
    question = Question(SESSION, limit=1, page=2)
    body = answer(*shown, total=3, question=question)

    if fits:
        check(ledger(1, 2, 3), body, 31, 40, question)
    else:
        with pytest.raises(Wrong):
            check(ledger(1, 2, 3), body, 31, 40, question)


def test_a_deletion_is_seen_once_it_is_acknowledged() -> None:
    """Between the sending and the acknowledgement both states fit."""
    known = ledger(1, 2)
    known.acknowledge(known.send(Draft(removed=[(SESSION, event(1).id)]), 50, "c"), 60)

    check(known, answer(2, 1), 55, 70)
    check(known, answer(2), 55, 70)
    check(known, answer(2), 61, 70)
    for body, as_of, received in ((answer(2, 1), 61, 70), (answer(2), 31, 49)):
        with pytest.raises(Wrong):
            check(known, body, as_of, received)


def test_a_purged_session_is_missing_and_may_come_back() -> None:
    """A 404 fits while it is away, a 200 while it is there."""
    known = ledger(1)
    known.acknowledge(known.send(Draft(purged=[SESSION], removed=[(SESSION, event(1).id)]), 50, "c"), 60)
    check(known, None, 61, 70)
    with pytest.raises(Wrong):
        check(known, answer(1), 61, 70)
    known.acknowledge(known.send(Draft(created=[SESSION]), 80, "d"), 90)

    check(known, answer(), 91, 95)
    with pytest.raises(Wrong):
        check(known, None, 91, 95)


def test_a_commit_without_an_answer_is_open_until_it_is_found_out() -> None:
    """Then it is there, or it never was."""
    known = ledger()
    commit: Commit = known.send(Draft(added=[event(1)]), 50, "c")
    check(known, answer(1), 60, 70)
    check(known, answer(), 60, 70)
    known.settle(commit, 80, committed=False)

    with pytest.raises(Wrong):
        check(known, answer(1), 90, 95)


@pytest.mark.parametrize(("kept", "fits"), [(True, (1,)), (False, ())])
def test_a_crash_may_take_back_what_did_not_wait_for_the_disk(kept: bool, fits: tuple[int, ...]) -> None:
    """Until the crash is over either fits."""
    known = ledger()
    known.acknowledge(known.send(Draft(added=[event(1)]), 50, "c", durable=False), 60)
    known.crash(70)
    check(known, answer(1), 65, 69)
    assert known.suspects() == ["c"]
    assert known.recovered({"c": kept}, 80) == (not kept)

    check(known, answer(*fits), 90, 95)
    with pytest.raises(Wrong):
        check(known, answer() if kept else answer(1), 90, 95)


def test_what_waited_for_the_disk_proves_what_came_before() -> None:
    """No crash takes it back then."""
    known = ledger()
    known.acknowledge(known.send(Draft(added=[event(1)]), 50, "c", durable=False), 60)
    known.acknowledge(known.send(Draft(), 61, "d"), 65)

    assert known.suspects() == []
    with pytest.raises(Wrong):
        check(known, answer(), 66, 70)


def renamed(body: dict[str, Any], message: str) -> dict[str, Any]:
    """The same answer with another message in each event."""
    return {**body, "items": [{**item, "message": message} for item in body["items"]]}


def test_a_migration_changes_what_rows_from_before_read_as() -> None:
    """Between its sending and its acknowledgement both fit; before it and after it one does."""
    known = ledger(1, 2)
    commit = known.migrate(lambda event: replace(event, message="migrated"), 50)
    known.acknowledge(commit, 60)
    old, new = answer(2, 1), renamed(answer(2, 1), "migrated")

    for body, as_of, received in ((old, 40, 49), (old, 55, 70), (new, 55, 70), (new, 40, 55), (new, 61, 70)):
        check(known, body, as_of, received)
    for body, as_of, received in ((new, 40, 49), (old, 61, 70)):
        with pytest.raises(Wrong):
            check(known, body, as_of, received)


def test_a_row_from_after_a_migration_reads_as_it_was_written() -> None:
    """Until the next one, which finds it as it is."""
    known = ledger()
    known.acknowledge(known.migrate(lambda event: replace(event, message="a"), 50), 60)
    known.acknowledge(known.send(Draft(added=[event(1)]), 70, "c"), 80)
    check(known, answer(1), 81, 90)
    known.acknowledge(known.migrate(lambda event: replace(event, message=f"{event.message} b"), 100), 110)

    check(known, renamed(answer(1), "None b"), 111, 120)
    with pytest.raises(Wrong):
        check(known, answer(1), 111, 120)


def test_a_migration_that_never_was_changes_nothing() -> None:
    """Neither rows from before its COMMIT was sent nor later ones; the next one goes on from there."""
    known = ledger(1)
    failed = known.migrate(lambda event: replace(event, message="a"), 50)
    known.acknowledge(known.send(Draft(added=[event(2)]), 70, "c"), 80)
    known.settle(failed, 90, committed=False)
    check(known, answer(2, 1), 91, 95)
    known.acknowledge(known.migrate(lambda event: replace(event, message="b"), 100), 110)

    check(known, renamed(answer(2, 1), "b"), 111, 120)


def test_an_update_replaces_what_is_shown() -> None:
    """The event is there all the time, with the one content or the other."""
    known = ledger(1)
    draft = Draft()
    draft.change([event(1)], [replace(event(1), message="new")])
    known.acknowledge(known.send(draft, 50, "c"), 60)

    for body, as_of in ((answer(1), 55), (renamed(answer(1), "new"), 55), (renamed(answer(1), "new"), 61)):
        check(known, body, as_of, 70)
    with pytest.raises(Wrong):
        check(known, answer(1), 61, 70)


def test_an_event_of_the_own_transaction_moves_without_a_trace() -> None:
    """What was never committed in its first session was never there."""
    draft = Draft(added=[event(1)])
    moved = replace(event(1), session_id="another")
    draft.change([event(1)], [moved])

    assert (draft.added, draft.removed) == ([moved], [])


@pytest.mark.parametrize(
    ("as_of", "received", "excused"), [(30, 39, False), (30, 40, True), (60, 90, True), (61, 90, False)]
)
def test_an_edit_excuses_answers_until_it_is_mended(as_of: int, received: int, excused: bool) -> None:
    """Answers that came before it, or whose as-of is later than its end, are judged as any."""
    known = ledger(1)
    known.edits.append(Edit(SESSION, 40, 60))

    assert known.edited(SESSION, as_of, received) is excused
    assert not known.edited("another", as_of, received)
