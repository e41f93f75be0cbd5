"""What counts as different between the view and Postgres, and what is only late: readings A, P, B, Q by hand."""

import hashlib
from dataclasses import replace

import pytest

from readmodel.values.event import EventRow, type_name
from readmodel.view.header import Header
from readmodel.view.type_index import pack_entry
from readside.inspection.verdict import EventInLog, SessionInLog, SessionInView, judge
from readside.inspection.verify import digests
from tests.support.viewing import event

SID = "11111111-1111-4111-8111-111111111111"
ONE, TWO, THREE, FOUR = [event(SID, score) for score in (1, 2, 3, 4)]


def text(one: EventRow) -> str:
    """An event's id as a verdict shows it."""
    return one.member[7:43].decode()


def view(*events: EventRow, status: str = "in_progress", older: int = 0, **header: object) -> SessionInView:
    """What Redis holds: these events, and in the header `older` ones that fell out of the window."""
    types: dict[str, int] = {"step_created": older} if older else {}
    for one in events:
        types[one.event_type] = types.get(one.event_type, 0) + 1
    made = Header(
        session_id=SID,
        term="t",
        version="1",
        status=status,
        count=len(events) + older,
        hi=sum(e.hash_hi for e in events),
        lo=sum(e.hash_lo for e in events),
        held=len(events),
        bytes=0,
        floor=min(e.score or 0 for e in events) if older else None,
        newest=None,
        complete=True,
    )
    members = [(e.member, float(e.score or 0)) for e in events]
    index = frozenset((type_name(e.event_type), pack_entry(e.score or 0, e.id)) for e in events)
    return SessionInView(replace(made, **header), digests(members), index, types)  # type: ignore[arg-type]


def log(*events: EventRow, status: str = "in_progress", version: str = "1", floor: int | None = None) -> SessionInLog:
    """What Postgres holds; every row in the version `version`."""
    rows = {
        e.id: EventInLog(
            hashlib.md5(e.member).digest(), type_name(e.event_type), pack_entry(e.score or 0, e.id), version
        )
        for e in events
    }
    totals = (len(events), sum(e.hash_hi for e in events), sum(e.hash_lo for e in events))
    return SessionInLog(status, 1, version, totals, rows, floor)


NOTHING = SessionInLog(None)


def altered(one: EventRow) -> EventRow:
    """The same event with other content."""
    return one._replace(member=one.member.replace(b'"message":null', b'"message":"new"'))


@pytest.mark.parametrize("events", [(), (ONE,), (ONE, TWO, THREE)])
def test_equal_is_the_same(events: tuple[EventRow, ...]) -> None:
    """All four readings agree."""
    verdict = judge(SID, view(*events), log(*events), view(*events), log(*events))

    assert (verdict.state, verdict.totals) == ("same", False)


def test_a_lost_event_is_missing() -> None:
    """P and Q hold it, B does not, though as-of has passed P; and the numbers give it away."""
    verdict = judge(SID, view(ONE), log(ONE, TWO), view(ONE), log(ONE, TWO))

    assert (verdict.state, verdict.missing, verdict.extra) == ("different", [text(TWO)], [])
    assert verdict.totals


def test_a_lost_member_is_missing_though_the_header_is_right() -> None:
    """The header says what must be there; the sorted sets are smaller."""
    damaged = view(ONE, count=2, held=2, hi=ONE.hash_hi + TWO.hash_hi, lo=ONE.hash_lo + TWO.hash_lo, complete=False)
    verdict = judge(SID, damaged, log(ONE, TWO), damaged, log(ONE, TWO))

    assert (verdict.state, verdict.missing) == ("different", [text(TWO)])


def test_an_event_that_nobody_wrote_is_extra() -> None:
    """A and B hold it, Postgres never did."""
    verdict = judge(SID, view(ONE, TWO), log(ONE), view(ONE, TWO), log(ONE))

    assert (verdict.state, verdict.missing, verdict.extra) == ("different", [], [text(TWO)])


def test_what_is_no_event_is_extra() -> None:
    """Bytes of others are named as they are, shortened."""
    strange = replace(view(ONE), events={**view(ONE).events, **digests([(b"\xffhello" * 20, 0.0)])})
    verdict = judge(SID, strange, log(ONE), strange, log(ONE))

    assert verdict.extra == [ascii((b"\xffhello" * 20)[:60])]


def test_other_bytes_are_changed() -> None:
    """The same id with other content."""
    verdict = judge(SID, view(altered(ONE)), log(ONE), view(altered(ONE)), log(ONE))

    assert (verdict.state, verdict.changed, verdict.totals) == ("different", [text(ONE)], False)


def test_another_place_in_the_order_is_changed() -> None:
    """The right bytes under a wrong score come on the wrong page."""
    moved = replace(view(ONE), events=digests([(ONE.member, 7.0)]))
    verdict = judge(SID, moved, log(ONE), moved, log(ONE))

    assert verdict.changed == [text(ONE)]


def test_an_id_that_is_there_twice_is_changed() -> None:
    """Once right and once otherwise: neither may hide the other."""
    both = [(ONE.member, 1.0), (altered(ONE).member, 1.0)]
    for members in (both, both[::-1]):
        twice = replace(view(ONE), events=digests(members))

        assert judge(SID, twice, log(ONE), twice, log(ONE)).changed == [text(ONE)]


def test_an_event_without_its_entry_is_not_found_by_type() -> None:
    """Polls by type would pass it over."""
    unindexed = replace(view(ONE, TWO), index=view(ONE).index)
    verdict = judge(SID, unindexed, log(ONE, TWO), unindexed, log(ONE, TWO))

    assert (verdict.state, verdict.unindexed) == ("different", [text(TWO)])


@pytest.mark.parametrize("wrong", [{"count": 2}, {"hi": 1}, {"lo": 1}, {"status": "failed"}, {"held": 2}])
def test_a_wrong_header_is_wrong_totals(wrong: dict[str, object]) -> None:
    """Every event is right, and what is said of them is not."""
    verdict = judge(SID, view(ONE, **wrong), log(ONE), view(ONE, **wrong), log(ONE))  # type: ignore[arg-type]

    assert (verdict.state, verdict.totals) == ("different", True)
    assert [] == verdict.missing == verdict.extra == verdict.changed == verdict.unindexed


@pytest.mark.parametrize(
    "types",
    [{}, {"step_created": 2}, {"step_created": 0, "other": 1}, {"step_created": 1, "other": 0, "Odd": 0}, {"": 1}],
)
def test_wrong_totals_per_type_are_wrong_totals(types: dict[str, int]) -> None:
    """They answer polls by type without `since`; the events themselves give them away."""
    wrong = replace(view(ONE), types=types)

    assert judge(SID, wrong, log(ONE), wrong, log(ONE)).totals


def test_types_that_no_poll_can_name_share_a_total() -> None:
    """Under no name."""
    odd = [event(SID, score, kind) for score, kind in enumerate(["Odd Type", "x" * 101, "step_created"])]
    held = replace(view(*odd), types={"": 2, "step_created": 1})

    assert judge(SID, held, log(*odd), held, log(*odd)).state == "same"


def test_a_window_is_compared_as_far_as_it_reaches() -> None:
    """Older events are counted and not held; of those at the floor only some may be held."""
    held = view(THREE, FOUR, older=2, hi=sum(e.hash_hi for e in (ONE, TWO, THREE, FOUR)),
                lo=sum(e.hash_lo for e in (ONE, TWO, THREE, FOUR)))  # fmt: skip
    stored = log(ONE, TWO, THREE, FOUR)

    assert judge(SID, held, stored, held, stored).state == "same"
    lacking = replace(held, events={THREE.id: held.events[THREE.id]})
    assert judge(SID, lacking, stored, lacking, stored).missing == [text(FOUR)]


def test_a_window_that_holds_all_is_wrong() -> None:
    """A floor says that something is not held."""
    held = view(ONE, TWO, floor=1)

    assert judge(SID, held, log(ONE, TWO), held, log(ONE, TWO)).totals


def test_a_purged_session_that_stays_is_different() -> None:
    """As-of has passed its deletion."""
    verdict = judge(SID, view(ONE), NOTHING, view(ONE), NOTHING)

    assert (verdict.state, verdict.extra, verdict.totals) == ("different", [text(ONE)], True)


def same(first: SessionInView, stored: SessionInLog, second: SessionInView, again: SessionInLog) -> None:
    """Check that a race is no alarm."""
    verdict = judge(SID, first, stored, second, again)
    assert verdict.state == "same", verdict


def test_race_written_after_the_first_reading() -> None:
    """P holds more than A; B has it."""
    same(view(ONE), log(ONE, TWO), view(ONE, TWO), log(ONE, TWO))


def test_race_written_after_postgres_was_read() -> None:
    """B holds more than P: it was applied since."""
    same(view(ONE), log(ONE), view(ONE, TWO), log(ONE, TWO))


def test_race_written_after_the_second_reading() -> None:
    """Q holds more than B."""
    same(view(ONE), log(ONE, TWO), view(ONE, TWO), log(ONE, TWO, THREE))


def test_race_written_all_the_time() -> None:
    """No two readings agree."""
    same(view(), log(ONE), view(ONE, TWO), log(ONE, TWO, THREE))


def test_race_committed_and_not_yet_applied() -> None:
    """A holds less than P did at the time, and B caught up."""
    same(view(ONE), log(ONE, TWO, THREE), view(ONE, TWO, THREE), log(ONE, TWO, THREE, FOUR))


def test_race_deleted_after_postgres_was_read() -> None:
    """P holds what B and Q do not."""
    same(view(ONE, TWO), log(ONE, TWO), view(ONE), log(ONE))


def test_race_deleted_before_postgres_was_read() -> None:
    """A holds what nobody else does."""
    same(view(ONE, TWO), log(ONE), view(ONE), log(ONE))


def test_race_deleted_after_the_second_reading() -> None:
    """Q lacks what all others hold."""
    same(view(ONE, TWO), log(ONE, TWO), view(ONE, TWO), log(ONE))


def test_race_written_and_deleted_in_between() -> None:
    """P saw an event that was there for a moment; A and B say the same and P does not."""
    same(view(ONE), log(ONE, TWO), view(ONE), log(ONE))


def test_race_written_for_a_moment_into_the_view() -> None:
    """B saw an event that neither P nor Q did."""
    same(view(ONE), log(ONE), view(ONE, TWO), log(ONE))


def test_race_deleted_and_written_again() -> None:
    """P and Q hold the same event in two versions; B was read in between."""
    same(view(ONE, TWO), log(ONE, TWO), view(ONE), replace(log(ONE, TWO, version="2"), totals=(0, 0, 0)))


def test_race_changed_in_between() -> None:
    """P holds the old content, B and Q the new."""
    same(view(ONE), log(ONE), view(altered(ONE)), log(altered(ONE), version="2"))


def test_race_changed_and_changed_back() -> None:
    """P and Q hold the same content in two versions; B was read in between."""
    same(view(ONE), log(ONE), view(altered(ONE)), log(ONE, version="2"))


def test_race_changed_before_postgres_was_read() -> None:
    """A holds the old content."""
    same(view(ONE), log(altered(ONE)), view(altered(ONE)), log(altered(ONE)))


def test_race_another_status() -> None:
    """Before P, between P and B, and after B."""
    same(view(), log(status="failed"), view(status="failed"), log(status="failed"))
    same(view(), log(), view(status="failed"), log(status="failed", version="2"))
    same(view(), log(), view(), log(status="failed", version="2"))


def test_race_paused_and_resumed() -> None:
    """A and B say the same and P does not: P was read in between."""
    same(view(), log(status="paused"), view(), log(version="2"))


def test_race_resumed_and_paused_again() -> None:
    """P and Q say the same of two versions of the row; B was read in between."""
    same(view(), log(status="paused"), view(), log(status="paused", version="3"))


def test_race_purged_at_any_moment() -> None:
    """Gone before Q, or before P and back for Q; B was read while it was there."""
    same(view(ONE), log(ONE), view(ONE), NOTHING)
    same(view(ONE), NOTHING, view(), log())


def test_race_so_many_written_that_old_ones_are_not_read() -> None:
    """P and Q read the newest only: what they did not read is not extra."""
    held = view(ONE, TWO, THREE)
    newest = replace(log(THREE, floor=3), totals=(3, held.header.hi, held.header.lo))

    same(view(ONE), newest, held, newest)
    gone = replace(log(TWO, floor=2), totals=(3, held.header.hi, held.header.lo))
    assert judge(SID, held, gone, held, gone).extra == [text(THREE)]
