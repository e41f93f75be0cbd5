"""The state machine of following: every event once, in order, with few requests."""

from datetime import timedelta
from itertools import pairwise

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.clients.answering import Answering, driven, problem


def test_events_already_there_come_first_oldest_first(api: Answering) -> None:
    """However many pages they fill."""
    ids = api.add(95, ago=200, step=1)

    assert driven(api).rounds() == ids


def test_nothing_new_costs_one_request_without_a_body(api: Answering) -> None:
    """The ETag of the first page stands for the whole session."""
    api.add(95, ago=200, step=1)
    follower = driven(api)
    follower.rounds()

    assert [follower.requests() for _ in range(3)] == [1, 1, 1]
    assert api.found(api.asked[-1])[0] == 304


def test_a_burst_longer_than_a_page_comes_whole_and_in_order(api: Answering) -> None:
    """The pages below the first are read, and no others."""
    api.add(500, ago=600, step=1)
    follower = driven(api)
    follower.rounds()
    api.later(1)
    burst = api.add(35, ago=0.9, step=0.01)

    assert follower.requests() == 1 + 4
    assert follower.ids[500:] == burst


def test_a_burst_of_one_page_costs_one_request(api: Answering) -> None:
    """The first page holds it."""
    api.add(50, ago=100, step=1)
    follower = driven(api)
    follower.rounds()
    api.add(10)

    assert follower.requests() == 1


def test_events_of_one_instant_come_once_each(api: Answering) -> None:
    """A bulk insert gives them all the same timestamp."""
    api.add(55)
    follower = driven(api)
    follower.rounds()
    api.add(1)
    api.add(44)
    follower.rounds()

    assert sorted(follower.ids) == sorted(api.ids)


def test_an_event_committed_late_is_found_below_the_first_page(api: Answering) -> None:
    """`total` tells that one is missing; twice as deep each time, down to the last page."""
    api.add(300, ago=600, step=1)
    follower = driven(api)
    follower.rounds()
    late = api.add(ago=500)

    assert follower.rounds() == late
    assert follower.requests() == 1


def test_an_event_committed_late_below_what_was_just_read_is_found_in_the_next_round(api: Answering) -> None:
    """The ETag of an answer is kept only when nothing of it is missing."""
    api.add(95, ago=200, step=1)
    late: list[str] = []
    api.meanwhile = [list] * 7 + [lambda: late.extend(api.add(ago=199.5))]
    follower = driven(api)
    follower.rounds()
    assert late[0] not in follower.ids

    assert follower.rounds() == late
    assert follower.requests() == 1


def test_events_that_arrive_while_pages_are_read_are_neither_lost_nor_out_of_order(api: Answering) -> None:
    """They push the others to later pages."""
    api.add(95, ago=200, step=1)

    def arrive() -> None:
        api.later(0.5)
        api.add(7)

    api.meanwhile = [arrive] * 8
    follower = driven(api)
    follower.rounds()

    assert follower.ids == sorted(api.ids, key=follower.ids.index)
    assert all(one.timestamp <= other.timestamp for one, other in pairwise(follower.delivered))


def test_a_writer_faster_than_the_reader_starves_nobody(api: Answering) -> None:
    """More than a page arrives with every answer; events go on being delivered."""
    api.add(50, ago=100, step=1)

    def arrive() -> None:
        api.later(0.5)
        api.add(25)

    api.meanwhile = [arrive] * 60
    follower = driven(api)
    for _ in range(60):
        follower.step()
    assert len(follower.ids) > 250
    follower.rounds(2)

    assert sorted(follower.ids) == sorted(api.ids)


def test_deleted_events_hide_no_new_ones(api: Answering) -> None:
    """Fewer than known: every page is read once; afterwards a late event deep down is noticed again."""
    old = api.add(100, ago=200, step=1)
    follower = driven(api)
    follower.rounds()
    api.delete(old[10:15])
    late = api.add(2, ago=195)

    assert sorted(follower.rounds()) == sorted(late)
    assert follower.requests() == 1
    later = api.add(1, ago=150)
    assert follower.rounds() == later


def test_deletions_from_a_single_page_are_noticed(api: Answering) -> None:
    """And an event that comes in the same moment."""
    old = api.add(8, ago=20, step=1)
    follower = driven(api)
    follower.rounds()
    api.delete(old[:3])
    follower.rounds()
    new = api.add(1)

    assert follower.rounds() == new
    assert len(follower.ids) == 9


def test_an_answer_from_a_server_that_is_behind_makes_nothing_come_twice(api: Answering) -> None:
    """What it lacks is no deletion, and costs no reading of all pages."""
    api.add(100, ago=200, step=1)
    follower = driven(api)
    follower.rounds()
    behind = Answering(now=api.now, events=list(api.events))
    api.later(2)
    new = api.add(3)
    assert sorted(follower.rounds()) == sorted(new)

    follower.api = behind
    assert follower.requests() == 1
    follower.api = api
    assert follower.rounds(2) == []


def test_an_event_whose_deletion_was_a_mistake_of_ours_does_not_come_twice(api: Answering) -> None:
    """Ids stay known after they seem to have gone."""
    old = api.add(30, ago=200, step=1)
    follower = driven(api)
    follower.rounds()
    taken = list(api.events)
    api.delete(old[:5])
    follower.rounds()
    api.events = taken

    assert follower.rounds(2) == []
    assert follower.requests() == 1


def test_only_the_types_that_were_asked_for_come(api: Answering) -> None:
    """The filter applies before the total."""
    api.add(30, event_type="step_created")
    wanted = api.add(25, event_type="workflow_failed") + api.add(25, event_type="workflow_error")

    assert sorted(driven(api, types=("workflow_failed", "workflow_error")).rounds()) == sorted(wanted)


def test_since_is_where_it_begins(api: Answering) -> None:
    """Exclusive, as in the API."""
    api.add(30, ago=60)
    at = api.now - timedelta(seconds=60)
    wanted = api.add(30, ago=59)

    assert sorted(driven(api, since=at).rounds()) == sorted(wanted)


@settings(max_examples=40, deadline=None, phases=[Phase.reuse, Phase.generate])  # shrinking takes minutes
@given(st.data(), st.integers(1, 12), st.sampled_from([None, 20.0]), st.sampled_from([120, 10_000]))
def test_whatever_happens_each_event_comes_once(
    data: st.DataObject, page_size: int, overlap: float | None, remember: int
) -> None:
    """Bursts, outages and, where all is remembered, commits as late as the overlap, between and during rounds."""
    api = Answering()
    follower = driven(api, page_size=page_size, overlap_seconds=overlap, remember=remember)
    added: set[str] = set()

    def happen() -> None:
        match data.draw(st.integers(0, 5)):
            case 0:
                api.later(0.001)
                added.update(api.add(data.draw(st.integers(1, 60))))
            case 1 if remember > 120:
                added.update(api.add(2, ago=data.draw(st.integers(0, 20))))
            case 2:
                api.later(data.draw(st.integers(1, 30)))
            case 3:
                api.replies.append(problem(503))
            case _:
                pass

    for _ in range(data.draw(st.integers(1, 15))):
        happen()
        api.meanwhile = [happen] * data.draw(st.integers(0, 4))
        follower.rounds()
    api.meanwhile.clear()
    follower.rounds(8)

    assert len(follower.ids) == len(set(follower.ids))
    assert set(follower.ids) == added
