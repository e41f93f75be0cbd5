"""Following when things go wrong: what is waited out, for how long, and what ends it."""

import json
import random

import pytest

from readside_client.errors import BadRequest, SessionNotFound, Unavailable
from readside_client.follower import Follower
from readside_client.following import Following
from tests.clients.answering import Answering, Driven, driven, problem, query


def test_pages_too_long_to_be_sent_are_asked_for_smaller(api: Answering) -> None:
    """As the 400 about `limit` says; other 400s are errors."""
    api.most = 3
    ids = api.add(20, ago=30, step=1)

    assert driven(api).rounds() == ids


def test_pages_that_come_shorter_than_asked_are_read_on_where_they_end(api: Answering) -> None:
    """`per_page` says how long they are; a burst comes whole and in order."""
    api.shortens, api.most = True, 3
    api.add(20, ago=30, step=1)
    follower = driven(api)
    follower.rounds()
    api.later(1)
    api.add(11, ago=0.9, step=0.01)
    follower.rounds()
    assert follower.ids == api.ids
    api.most = 2
    api.add(7)

    assert sorted(follower.rounds()) == sorted(api.ids[31:])
    assert follower.requests() == 1


def test_a_page_of_one_that_is_too_long_is_an_error(api: Answering) -> None:
    """Nothing smaller can be asked."""
    api.most = 0
    api.add(2)

    with pytest.raises(BadRequest):
        driven(api).rounds()


@pytest.mark.parametrize(
    "text",
    ["[" * 3000 + "]" * 3000, '{"n":1e5000}', '{"n":' + "9" * 5000 + "}", '["\\ud800"]', "7" * 400 + ".5"],
    ids=["3,000 levels", "1e5000", "5,000 digits", "half a pair", "400 digits and a point"],
)
def test_no_event_stops_what_follows(api: Answering, text: str) -> None:
    """The others come, it comes, and its text is at hand."""
    ids = api.add(3, ago=3, step=1)
    api.events[1]["event_data"] = "here"
    follower = driven(api)
    status, headers, body = api.answer(follower.follower.ask())
    step = follower.follower.answered(status, headers, body.replace(b'"here"', text.encode()))

    assert [event.id for event in step.events] == ids
    assert step.events[1].event_data_json == text
    assert step.wait_seconds == 1


@pytest.mark.parametrize("timestamp", ["2026-02-30T00:00:00.000000Z", "0044-99-01 00:00:00+00 BC"])
def test_a_day_that_there_is_not_stops_nothing(api: Answering, timestamp: str) -> None:
    """The event comes, with its text."""
    api.add(1)
    api.events[0]["timestamp"] = timestamp
    follower = driven(api)

    assert [event.timestamp for event in follower.step().events] == [timestamp]


@pytest.mark.parametrize("name", ["id", "session_id", "event_type", "timestamp"])
@pytest.mark.parametrize("value", [None, 5, []], ids=str)
def test_what_is_no_event_is_waited_out(api: Answering, name: str, value: object) -> None:
    """It is some proxy's perhaps, and no error of the caller's."""
    api.add(1)
    follower = driven(api)
    status, headers, body = api.found(follower.follower.ask())
    answer = json.loads(body)
    answer["items"][0][name] = value
    step = follower.follower.answered(status, headers, json.dumps(answer).encode())

    assert (list(step.events), step.ended) == ([], False)
    assert step.wait_seconds > 0


def test_failures_in_the_middle_of_a_burst_lose_nothing(api: Answering) -> None:
    """It goes on where it was."""
    ids = api.add(95, ago=200, step=1)
    follower = driven(api)
    for _ in range(4):
        follower.step()
        api.replies.append(problem(503, headers={"retry-after": "2"}))
        assert follower.step().wait_seconds >= 2
        assert follower.follower.failed(Unavailable("No answer.")).wait_seconds > 0
    follower.rounds()

    assert follower.ids == ids


def test_waits_follow_the_servers_interval_and_its_retry_after(api: Answering) -> None:
    """Retry-After is the least; jitter comes on top, more with each failure, up to a cap; a success resets it."""
    api.interval = "15"
    follower = Driven(api, Follower(query(), Following(), chance=_Most()))
    assert follower.step().wait_seconds == 15

    api.replies = [problem(503, headers={"retry-after": "7"})] + [problem(429)] * 9
    assert [follower.step().wait_seconds for _ in range(10)] == [7.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert follower.step().wait_seconds == 15
    api.replies = [problem(502)]
    assert follower.step().wait_seconds == 0.5


class _Most(random.Random):
    """Chance that gives the most each time."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_a_304_that_was_not_asked_for_is_no_answer(api: Answering) -> None:
    """Some cache in between gave it: waited out, not looped over."""
    api.replies = [(304, api.found(query().request(limit=10))[1], b"")] * 2
    api.add(1)
    follower = driven(api, until=api.now)
    first = follower.step()

    assert (first.wait_seconds > 0, first.ended) == (True, False)
    assert follower.rounds(2) == api.ids


def test_servers_that_disagree_by_more_than_a_page_are_not_asked_without_rest(api: Answering) -> None:
    """Each in turn, while one hangs behind; once they agree all is there."""
    api.add(100, ago=200, step=1)
    behind = Answering(now=api.now, events=list(api.events))
    api.later(1)
    api.add(25)
    follower = driven(api, page_size=2)
    waited = 0
    for turn in range(200):
        follower.api = (api, behind)[turn % 2]
        waited += follower.step().wait_seconds > 0
    assert waited > 5
    follower.api = api
    follower.rounds(3)

    assert sorted(follower.ids) == sorted(api.ids)


def test_a_purged_session_ends_it(api: Answering) -> None:
    """With the API's own sentence."""
    api.replies = [problem(404, "Session not found: some")]

    with pytest.raises(SessionNotFound, match="Session not found: some"):
        driven(api).step()


def test_patience_has_an_end_if_one_is_given(api: Answering) -> None:
    """Counted from the last answer."""
    now = [0.0]
    follower = Follower(query(), Following(patience_seconds=10), clock=lambda: now[0])
    now[0] = 9.0
    follower.failed(Unavailable("No answer."))
    follower.answered(*api.answer(follower.ask()))
    now[0] = 18.0
    follower.failed(Unavailable("No answer."))
    now[0] = 20.0

    with pytest.raises(Unavailable):
        follower.failed(Unavailable("No answer."))


@pytest.mark.parametrize(
    "options",
    [
        {"page_size": 0},
        {"page_size": 1001},
        {"remember": 99},
        {"overlap_seconds": -1},
        {"patience_seconds": float("nan")},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    """At once, by name."""
    with pytest.raises(ValueError, match=next(iter(options)).removesuffix("_seconds")):
        Following(**({"page_size": 10} | options))  # type: ignore[arg-type]
