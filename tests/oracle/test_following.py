"""The judge of followers: what fits passes, and every way to leave somebody behind is seen."""

from dataclasses import replace
from typing import Any

import pytest

from readmodel.values.cut import Cut
from readmodel.values.offset import Offset
from tests.oracle.following import NOW, START, Pages, StreamAnswer, StreamPlace
from tests.oracle.histories import Break, Edit, Event
from tests.oracle.judge import Wrong
from tests.oracle.ledger import Draft, Ledger

SESSION = "00000000-0000-4000-8000-000000000000"


def event(number: int, message: str | None = None) -> Event:
    """An event at second `number`."""
    return Event(f"{number:08}-0000-4000-8000-000000000000", SESSION, "step_created", {}, message, number * 1_000_000)


def offset(xmax: int, *running: int) -> str:
    """What a stream gives behind a cut."""
    return Offset("00000000", Cut(xmax, frozenset(running))).text


def commit(known: Ledger, draft: Draft, now: int) -> None:
    """Commit between one instant and the one after."""
    known.acknowledge(known.send(draft, now, str(now)), now + 1)


def ledger(*numbers: int) -> Ledger:
    """A session with these events, committed by 30."""
    made = Ledger()
    commit(made, Draft(created=[SESSION]), 10)
    commit(made, Draft(added=[event(number) for number in numbers]), 20)
    return made


def changed(known: Ledger, number: int, now: int) -> Event:
    """Update an event."""
    draft, after = Draft(), event(number, "new")
    draft.change([event(number)], [after])
    commit(known, draft, now)
    return after


def answer(now: int, following: str | None, *events: Event, source: str = "redis", whole: bool = True) -> StreamAnswer:
    """What a stream gives, as of an instant, received just after it."""
    return StreamAnswer(source, now - 1, now, now + 1, [each.item() for each in events], following, whole)


def begun(*numbers: int, behind: str = "") -> StreamPlace:
    """A follower that was given these events at 40, and nothing is open at its cut."""
    followed = StreamPlace(ledger(*numbers), SESSION)
    followed.take(answer(40, behind or offset(100), *map(event, numbers)))
    return followed


def test_what_comes_once_and_what_was_written_again_fits() -> None:
    """An update comes as it reads now, a deletion not at all."""
    followed = begun(1, 2)
    after = changed(followed.ledger, 1, 50)
    followed.take(answer(60, offset(101), after))
    commit(followed.ledger, Draft(removed=[(SESSION, event(2).id)]), 70)
    followed.take(answer(80, offset(102)))

    assert followed.lacks() == ""
    assert followed.came_twice.total() == 0


def test_an_event_that_is_left_out_is_missed_as_soon_as_all_is_said_to_be_given() -> None:
    """Not before."""
    followed = StreamPlace(ledger(1, 2), SESSION)
    followed.take(answer(40, offset(100), event(1), whole=False))
    assert "1 events were not given" in followed.lacks()
    with pytest.raises(Wrong, match="1 events were not given"):
        followed.take(answer(50, offset(101)))


def test_an_older_version_does_not_do() -> None:
    """An update is an arrival."""
    followed = begun(1)
    changed(followed.ledger, 1, 50)

    assert "not again" in followed.lacks()
    with pytest.raises(Wrong, match="not again"):
        followed.take(answer(60, offset(101)))


def test_what_is_committed_while_a_request_waits_should_come_soon() -> None:
    """How late it came is kept; of what was there before the request nothing is said."""
    followed = begun(1)
    assert followed.late_us == 0
    commit(followed.ledger, Draft(added=[event(2)]), 50)
    followed.take(StreamAnswer("redis", 45, 55, 61, [event(2).item()], offset(101), True))

    assert followed.late_us == 10


@pytest.mark.parametrize("wrong", [event(9), replace(event(1), message="never written")])
def test_what_nobody_wrote_is_wrong(wrong: Event) -> None:
    """Strangers, and another content."""
    with pytest.raises(Wrong):
        StreamPlace(ledger(1), SESSION).take(answer(40, offset(100), wrong))


def test_what_comes_twice_is_counted_where_a_transaction_was_open_that_has_ended() -> None:
    """From Postgres alone, which cannot tell by a savepoint's row whose it is."""
    followed = begun(1, behind=offset(100, 90))
    followed.take(answer(60, offset(101), event(1), source="postgres"))
    assert followed.came_twice == {"postgres": 1}

    with pytest.raises(Wrong, match="by the arrival log"):
        followed.take(answer(70, offset(102), event(1)))


@pytest.mark.parametrize("running", [(), (90,)])
def test_nothing_comes_twice_where_none_was_open_or_still_is(running: tuple[int, ...]) -> None:
    """Whoever gives it."""
    with pytest.raises(Wrong, match="has not ended"):
        begun(1, behind=offset(100, *running)).take(answer(60, offset(101, *running), event(1), source="postgres"))


def test_an_offset_goes_forward_alone() -> None:
    """Text by text."""
    followed = begun(1)
    followed.take(answer(50, offset(100)))
    with pytest.raises(Wrong, match="is before"):
        followed.take(answer(60, offset(99)))


@pytest.mark.parametrize("place", [START, NOW])
def test_the_start_and_the_end_are_never_gone(place: str) -> None:
    """They are of every history."""
    with pytest.raises(Wrong, match="410 for the offset"):
        StreamPlace(ledger(), SESSION, offset=place).take(answer(40, None))


def test_an_offset_is_gone_behind_a_crash_and_only_then() -> None:
    """All begins anew; what the crash took back must not stay with the follower."""
    followed = begun(1)
    with pytest.raises(Wrong, match="no crash"):
        followed.take(answer(50, None))
    followed.ledger.breaks.append(Break(60, over=70))
    followed.take(answer(80, None))
    assert (followed.offset, followed.given) == (START, {})

    followed = begun(1)
    followed.ledger.breaks.append(Break(60, over=70))
    with pytest.raises(Wrong, match="of before a crash was continued"):
        followed.take(answer(80, offset(101)))


def test_what_a_crash_took_back_was_never_there() -> None:
    """Who was given it, and still has it, was not told of the crash."""
    known = ledger()
    known.acknowledge(known.send(Draft(added=[event(1)]), 30, "a", durable=False), 31)
    followed = StreamPlace(known, SESSION)
    followed.take(answer(40, offset(100), event(1)))
    known.crash(50)
    known.recovered({"a": False}, 60)

    assert "1 events were given that no transaction left behind" in followed.lacks()


def test_who_begins_now_asks_for_nothing_older() -> None:
    """But for all that comes."""
    followed = StreamPlace(ledger(1), SESSION, offset=NOW)
    followed.take(answer(40, offset(100)))
    assert followed.lacks() == ""
    commit(followed.ledger, Draft(added=[event(2)]), 50)

    assert "1 events were not given" in followed.lacks()


def test_a_missing_session_is_missing_and_may_come_back() -> None:
    """404 while it is away; the offset stays good."""
    followed = begun(1)
    missing = StreamAnswer("redis", 59, 60, 61, None, None)
    with pytest.raises(Wrong, match="404"):
        followed.take(missing)
    commit(followed.ledger, Draft(purged=[SESSION], removed=[(SESSION, event(1).id)]), 50)
    followed.take(missing)

    assert followed.lacks() == ""


def test_edited_events_are_not_held_against_anybody() -> None:
    """Somebody wrote them into Redis; they are not given again when that is mended."""
    known = ledger(1)
    edited = replace(event(1), message="edited")
    edit = Edit(SESSION, 35)
    known.edits.append(edit)
    followed = StreamPlace(known, SESSION)
    followed.take(answer(40, offset(100), edited))
    edit.over = 45

    assert followed.lacks() == ""


def page(*events: Event, total: int) -> dict[str, Any]:
    """The newest page."""
    return {"items": [each.item() for each in events], "total": total}


def test_a_follower_of_pages_reads_all_where_the_total_differs() -> None:
    """And is asked for what it can know: nobody told it of a deletion and an insertion at once."""
    pages = Pages(ledger(1, 2), SESSION)
    assert not pages.merge(page(event(2), total=2))
    assert "1 events differ" in pages.lacks()
    assert pages.merge(page(event(2), event(1), total=2))
    assert pages.lacks() == ""


@pytest.mark.parametrize(("whole_us", "is_misled"), [(40, True), (60, False)])
def test_a_follower_of_pages_is_misled_by_changes_of_what_is_old(whole_us: int, is_misled: bool) -> None:
    """Until it has read all again."""
    pages = Pages(ledger(1), SESSION, whole_us=whole_us)
    pages.merge(page(event(1), total=1))
    changed(pages.ledger, 1, 50)

    assert pages.is_misled is is_misled
    assert "instead of" in pages.lacks()
