"""Polls answered from what is known of a session's newest events: as by hand, or not at all."""

import random

import orjson
import pytest

from query_api.memory.newest import BEFORE_ALL_US, MAX_ANSWERS, Newest
from readmodel.values.event import EventRow
from readmodel.values.poll import Poll, render
from tests.support.viewing import event, expected, newest_first

SID = "11111111-1111-4111-8111-111111111111"
STEPS = ["33333333-3333-4333-8333-333333333333", "44444444-4444-4444-8444-444444444444"]
TYPES = ["step_created", "status_changed", "artifact_created", "Odd/Type", 'with "quotes"']


def known(events: list[EventRow], most: int) -> Newest:
    """What a store tells of these events."""
    tail = newest_first(events)[:most]
    newest_us = max((one.score or 0 for one in events), default=None)
    scores, members = [one.score or 0 for one in tail], [one.member for one in tail]
    return Newest(SID, newest_us, False, scores, members, whole=len(tail) == len(events))


@pytest.mark.parametrize("seed", range(20))
def test_every_poll_is_answered_as_by_hand_or_not_at_all(seed: int) -> None:
    """Whatever the instants (many are alike), the filters, order and page; and where it reaches it does answer."""
    dice = random.Random(seed)
    events = [
        event(SID, dice.randrange(30), dice.choice(TYPES), step_id=dice.choice([None, *STEPS]))
        for _ in range(dice.randrange(0, 40))
    ]
    newest = known(events, dice.choice([0, 1, 5, 16, 40]))
    for _ in range(100):
        poll = Poll(
            SID,
            since_us=dice.choice([None, dice.randrange(-2, 33)]),
            types=tuple(sorted(dice.sample(TYPES[:3], dice.randrange(0, 3)))),
            limit=dice.choice([1, 3, 100]),
            page=dice.randrange(1, 4),
            steps=tuple(dice.sample(STEPS, dice.choice([0, 0, 1]))),
            oldest_first=dice.random() < 0.5,
        )
        answer = newest.answer(poll)
        reaches = poll.since_us is not None and poll.since_us >= newest.reaches_us
        assert (answer is not None) == reaches
        if answer is not None:
            page, total = expected(events, poll)
            assert answer.body == render(page, total, poll)


def test_how_far_it_reaches() -> None:
    """To the oldest event known; without events to the newest instant; for ever where there are no others."""
    assert Newest(SID, 9, False).reaches_us == 9
    assert Newest(SID, 9, False, [9, 9, 4], [b"{}"] * 3).reaches_us == 4
    assert Newest(SID, 9, False, [9, 4], [b"{}"] * 2, whole=True).reaches_us == BEFORE_ALL_US
    assert Newest(SID, None, False).reaches_us == BEFORE_ALL_US


def test_dashboards_that_are_equally_far_behind_get_one_answer() -> None:
    """Built once, and few are kept."""
    newest = known([event(SID, 10 * n) for n in range(20)], 16)
    first = newest.answer(Poll(SID, since_us=171))
    assert first
    assert first is newest.answer(Poll(SID, since_us=172))
    assert orjson.loads(first.body)["total"] == 2

    for limit in range(1, MAX_ANSWERS + 1):
        newest.answer(Poll(SID, since_us=171, limit=limit))
    assert newest.answer(Poll(SID, since_us=171)) is not first


@pytest.mark.parametrize("terminal", [False, True])
def test_a_sessions_status_is_told(terminal: bool) -> None:
    """By the interval between polls: of those that find something and of those that do not."""
    newest = Newest(SID, 9, terminal, [9, 8], [b"{}"] * 2)

    for since_us in (8, 9, 10):
        answer = newest.answer(Poll(SID, since_us=since_us))
        assert answer
        assert answer.terminal == terminal
