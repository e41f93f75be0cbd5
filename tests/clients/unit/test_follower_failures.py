"""Following when things go wrong: what is waited out, for how long, and what ends it."""

import json
import random

import pytest

from readside_client.errors import BadRequest, OffsetLost, SessionNotFound, Unavailable
from readside_client.following import Following
from tests.clients.answering import Answering, driven, problem


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
    assert step.wait_seconds == 0


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
    answer[0][name] = value
    step = follower.follower.answered(status, headers, json.dumps(answer).encode())

    assert (list(step.events), step.ended) == ([], False)
    assert step.wait_seconds > 0


def test_failures_lose_nothing(api: Answering) -> None:
    """It goes on where it was."""
    api.most = 10
    ids = api.add(45)
    follower = driven(api)
    for _ in range(5):
        follower.step()
        api.replies.append(problem(503, headers={"retry-after": "2"}))
        assert follower.step().wait_seconds >= 2
        assert follower.follower.failed(Unavailable("No answer.")).wait_seconds > 0

    assert follower.ids == ids


def test_waits_follow_retry_after_and_grow(api: Answering) -> None:
    """Retry-After is the least; jitter comes on top, more with each failure, up to a cap; a success resets it."""
    follower = driven(api, chance=_Most())
    api.replies = [problem(503, headers={"retry-after": "7"})] + [problem(429)] * 9
    assert [follower.step().wait_seconds for _ in range(10)] == [7.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    follower.step()
    api.replies = [problem(502)]

    assert follower.step().wait_seconds == 0.5


class _Most(random.Random):
    """Chance that gives the most each time."""

    def uniform(self, a: float, b: float) -> float:
        return b


@pytest.mark.parametrize("lacking", ["stream-next-offset", "readside-as-of"])
@pytest.mark.parametrize("status", [200, 204, 304])
def test_what_is_not_the_apis_answer_is_waited_out(api: Answering, status: int, lacking: str) -> None:
    """Some cache or proxy in between gave it."""
    ids = api.add(1)
    follower = driven(api)
    _, headers, body = api.found(follower.follower.ask())
    del headers[lacking]
    api.replies = [(status, headers, body)]
    assert follower.step().wait_seconds > 0

    assert follower.rounds() == ids


@pytest.mark.parametrize(("status", "kind"), [(404, SessionNotFound), (400, BadRequest)], ids=["purged", "wrong"])
def test_what_asking_again_does_not_mend_ends_it(api: Answering, status: int, kind: type[Exception]) -> None:
    """With the API's own sentence."""
    api.replies = [problem(status, "Its own sentence.")]

    with pytest.raises(kind, match=r"Its own sentence\."):
        driven(api).step()


@pytest.mark.parametrize("offset", ["x.3", "now"])
def test_who_began_behind_an_offset_is_told_that_it_is_gone(api: Answering, offset: str) -> None:
    """What was given before is not known here, and would come again."""
    api.add(5)
    follower = driven(api, offset=offset)
    if offset == "now":
        follower.step()
    api.origin = "b"

    with pytest.raises(OffsetLost, match="read again from -1"):
        follower.step()


def test_who_takes_events_twice_may_begin_again(api: Answering) -> None:
    """By choice; what is known is dropped all the same."""
    ids = api.add(5)
    follower = driven(api, offset="x.3", restart=True)
    follower.rounds(2)
    assert follower.ids == ids
    api.origin = "b"
    follower.rounds(2)

    assert follower.ids == ids


def test_more_events_than_are_remembered_are_not_read_again_unasked(api: Answering) -> None:
    """They would come twice."""
    api.add(1001)
    follower = driven(api, remember=1000)
    follower.rounds(2)
    api.origin = "b"

    with pytest.raises(OffsetLost):
        follower.step()


def test_a_start_that_is_gone_is_an_error(api: Answering) -> None:
    """Not a loop."""
    api.replies = [problem(410)]

    with pytest.raises(OffsetLost):
        driven(api, restart=True).step()


def test_starts_that_lead_to_no_end_wait_longer_and_longer(api: Answering) -> None:
    """Where each offset is gone at once; one that is continued ends it."""
    api.add(5)
    follower, waits = driven(api, chance=_Most()), []
    for origin in "abcde":
        api.origin = origin
        if origin != "a":
            waits.append(follower.step().wait_seconds)
        follower.step()
    follower.step()  # behind the offset
    api.origin = "f"

    assert waits == [0.5, 1, 2, 4]
    assert follower.step().wait_seconds == 0.5


def test_patience_has_an_end_if_one_is_given(api: Answering) -> None:
    """Counted from the first failure behind the last answer: a held read that ends in one is none yet."""
    follower = driven(api, patience_seconds=10)
    for _ in range(2):
        api.later(30)
        follower.follower.failed(Unavailable("No answer."))
        api.later(9)
        follower.follower.failed(Unavailable("No answer."))
        follower.step()
    follower.follower.failed(Unavailable("No answer."))
    api.later(10)

    with pytest.raises(Unavailable):
        follower.follower.failed(Unavailable("No answer."))


@pytest.mark.parametrize("options", [{"remember": 999}, {"patience_seconds": float("nan")}, {"offset": ""}])
def test_options_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    """At once, by name."""
    with pytest.raises(ValueError, match=next(iter(options)).removesuffix("_seconds")):
        Following(**options)  # type: ignore[arg-type]
