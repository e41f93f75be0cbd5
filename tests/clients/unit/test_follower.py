"""The state machine of following: every event once, in order of arrival, behind offsets that can be stored."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clients.answering import START, Answering, driven, problem


def test_events_already_there_come_first_and_then_each_as_it_arrives(api: Answering) -> None:
    """Answer behind answer, without a wait between them."""
    api.most = 10
    ids = api.add(25)
    follower = driven(api)
    assert [follower.step().wait_seconds for _ in range(3)] == [0, 0, 0]
    ids += api.add(2, ago=3600)

    assert follower.step().wait_seconds == 0
    assert follower.ids == ids


def test_a_read_is_held_and_then_asked_again_at_once(api: Answering) -> None:
    """The client gives it the time that the API may take."""
    follower = driven(api)
    follower.step()
    steps = [follower.step() for _ in range(2)]

    assert [step.wait_seconds for step in steps] == [0, 0]
    assert {request.held_seconds for request in api.asked} == {20}
    assert all("live=long-poll" in request.url for request in api.asked)


def test_answers_without_news_that_were_not_held_are_not_asked_for_in_a_loop(api: Answering) -> None:
    """A server that drains gives such ones, or something in between."""
    api.held = 0.0
    follower = driven(api)
    follower.step()

    assert [follower.step().wait_seconds for _ in range(2)] == [1, 1]


def test_now_begins_at_the_end(api: Answering) -> None:
    """Which is asked for first: between two requests for `now` events would be missed."""
    api.add(5)
    follower = driven(api, offset="now")
    assert follower.step().wait_seconds == 0
    ids = api.add(3)
    follower.step()

    assert follower.ids == ids
    assert [parse_qs(urlsplit(request.url).query) for request in api.asked] == [
        {"offset": ["now"]},
        {"offset": ["a.5"], "live": ["long-poll"]},
    ]


def test_a_stored_offset_resumes_behind_the_last_event_of_an_answer(api: Answering) -> None:
    """Nothing comes twice, and nothing is missed."""
    api.most = 10
    ids = api.add(20)
    follower = driven(api)
    follower.step()
    resumed = driven(api, offset=follower.delivered[-1].offset)
    resumed.step()

    assert resumed.ids == ids[10:]


def test_a_stored_offset_within_an_answer_resumes_where_that_answer_began(api: Answering) -> None:
    """Whole answers alone have offsets: what was handled of this one comes again, and nothing is missed."""
    api.most = 10
    ids = api.add(20)
    follower = driven(api)
    follower.rounds(2)
    assert [event.offset for event in follower.delivered] == ["-1"] * 9 + ["a.10"] * 10 + ["a.20"]
    resumed = driven(api, offset=follower.delivered[14].offset)
    resumed.step()

    assert resumed.ids == ids[10:]


def test_the_last_event_that_is_given_moves_the_offset(api: Answering) -> None:
    """Though others stand behind it that were not wanted, or known."""
    steps = (str(uuid4()), str(uuid4()))
    api.add(4)
    for event, step in zip(api.events, (0, 1, 1, 0), strict=True):
        event["step_id"] = steps[step]
    follower = driven(api, step_ids=(steps[1],))
    follower.step()

    assert [event.offset for event in follower.delivered] == ["-1", "a.4"]


def test_what_the_stream_gives_again_is_dropped_unless_it_was_updated(api: Answering) -> None:
    """By id and text; an update that was taken back is one too."""
    ids = api.add(5)
    follower = driven(api)
    follower.step()
    api.again(ids)
    assert follower.rounds() == []
    api.again(ids[1:2], message="another")
    assert follower.rounds() == ids[1:2]
    assert follower.delivered[-1].message == "another"
    api.again(ids)

    assert follower.rounds() == ids[1:2]


def test_memory_is_bounded_to_the_newest(api: Answering) -> None:
    """What is given again past it comes twice."""
    ids = api.add(3000)
    follower = driven(api, remember=1000)
    follower.rounds(3)
    api.again(ids[-1000:])
    assert follower.rounds() == []
    api.again(ids[:10])

    assert follower.rounds() == ids[:10]
    assert len(follower.follower._versions) == 1000


def test_only_what_was_asked_for_comes(api: Answering) -> None:
    """Types are asked of the API; steps, however they are written, and the bound on timestamps are looked at here."""
    step = uuid4()
    api.add(3, event_type="step_created")
    wanted = api.add(3, event_type="workflow_failed")
    for event in api.events:
        event["step_id"] = str(step)
    api.add(3, event_type="workflow_failed")
    follower = driven(api, types=("workflow_failed",), step_ids=(step.hex.upper(),))
    later = driven(api, since=api.now - timedelta(seconds=1))
    late = api.add(1, ago=1) + api.add(1, ago=0.999)

    assert follower.rounds() == wanted
    assert later.rounds() == [*api.ids[:9], late[1]]


def test_until_ends_it_once_all_that_was_committed_before_has_come(api: Answering) -> None:
    """Nothing is held near it: the end comes when it is due."""
    ids = api.add(3)
    follower = driven(api, until=START + timedelta(seconds=45))
    steps = [follower.step()]
    while not steps[-1].ended:
        api.later(steps[-1].wait_seconds)
        steps.append(follower.step())

    assert follower.ids == ids
    assert api.now == START + timedelta(seconds=45)
    assert sum("live" in request.url for request in api.asked) == 2


def test_until_in_the_past_takes_one_request(api: Answering) -> None:
    """All that there is, and the end."""
    api.add(3)
    step = driven(api, until=START).step()

    assert (len(step.events), step.ended, len(api.asked)) == (3, True, 1)


def test_a_stream_that_is_gone_is_read_again_where_nothing_comes_twice(api: Answering) -> None:
    """Begun at the start, all is known by id: an application does not notice that the database was promoted."""
    ids = api.add(5)
    follower = driven(api)
    follower.rounds(2)
    api.origin = "b"
    ids += api.add(2)
    assert 0 <= follower.step().wait_seconds <= 0.5
    follower.step()

    assert follower.ids == ids


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 12))
def test_whatever_happens_each_event_comes_once_and_every_offset_resumes(data: st.DataObject, most: int) -> None:
    """Bursts, late commits, outages, repetitions and lost origins; whoever resumes behind any event misses nothing."""
    api = Answering(most=most)
    follower, twice = driven(api), 0
    for _ in range(data.draw(st.integers(1, 25))):
        match data.draw(st.integers(0, 5)):
            case 0 | 1:
                api.add(data.draw(st.integers(1, 30)), ago=data.draw(st.integers(0, 90)))
            case 2 if api.ids:
                api.again(data.draw(st.lists(st.sampled_from(api.ids), max_size=3)))
            case 3:
                api.replies.append(problem(503))
            case 4 if twice < 1:
                api.origin, twice = "b", twice + 1
            case _:
                pass
        follower.step()
    follower.rounds(2 + len(api.arrivals) // most + len(api.replies))

    assert sorted(follower.ids) == sorted(api.ids)
    if follower.ids:
        place = data.draw(st.integers(0, len(follower.ids) - 1))
        resumed = driven(api, offset=follower.delivered[place].offset, restart=True)
        resumed.rounds(2 + len(api.arrivals) // most)
        assert set(follower.ids[place + 1 :]) <= set(resumed.ids)


def test_a_step_that_is_none_is_refused_at_the_call(api: Answering) -> None:
    """The API would refuse it, too."""
    with pytest.raises(ValueError, match="UUID"):
        driven(api, step_ids=("no step",))
