"""Places shared between principals: who comes anew is next, nobody starves, none is lost, and all is bounded."""

import random
from collections import Counter, deque
from collections.abc import Iterator
from itertools import count

import pytest

from query_api.sources import fair_line as module
from query_api.sources.fair_line import FairLine

PLACES = 8
HOG, VICTIM = "hog", "victim"


class Stage:
    """A line on a clock that is moved by hand; items are numbers."""

    def __init__(self, places: int = PLACES, most_each: int = 1_000, most: int = 10_000) -> None:
        self.now = 1_000.0
        self.line = FairLine[int](places, most_each=most_each, most=most, clock=lambda: self.now)
        self.served: list[str] = []
        self.held: Counter[str] = Counter()
        self._numbers = count()

    def ask(self, principal: str, times: int = 1) -> list[int]:
        """Ask so often, and have taken what can be; gives the items that had to leave."""
        left = []
        for number in self.numbers(times):
            self.line.asked(principal)
            gone = self.line.join(principal, number)
            left += [] if gone is None else [gone]
            self.serve()
        return left

    def numbers(self, times: int) -> Iterator[int]:
        """New items."""
        return (next(self._numbers) for _ in range(times))

    def serve(self) -> None:
        """All places that can be given."""
        while (taken := self.line.take()) is not None:
            principal = str(taken[0])
            self.served.append(principal)
            self.held[principal] += 1

    def end(self, principal: str, seconds: float = 0.005) -> None:
        """Have a place given back after so long, and given to the next."""
        self.held[principal] -= 1
        self.line.give_back(principal, seconds)
        self.serve()


def test_one_that_asks_alone_has_half_of_the_places() -> None:
    """The others are free for whoever comes."""
    stage = Stage()
    stage.ask(HOG, 1_000)

    assert stage.held == {HOG: PLACES // 2}


def test_a_newcomer_beside_a_thousand_queries_is_served_at_once() -> None:
    """Though none of them has ended yet."""
    stage = Stage()
    stage.ask(HOG, 1_000)
    stage.ask(VICTIM)

    assert stage.held[VICTIM] == 1


def test_while_others_ask_one_holds_a_small_part() -> None:
    """As its queries end it gets no more than that."""
    stage = Stage()
    stage.ask(HOG, 1_000)
    stage.ask(VICTIM)
    stage.end(VICTIM)
    for _ in range(100):
        stage.end(HOG)

    assert stage.held[HOG] == PLACES // 4


@pytest.mark.parametrize("places", range(1, 65))
@pytest.mark.parametrize("long", [False, True])
def test_one_that_asks_a_little_slows_nobody_to_less_than_half(places: int, long: bool) -> None:
    """Whatever the number of places: a poll now and then must not be a means to hold others up."""
    alone, beside = (module.most_of_one(places, beside=others, long=long) for others in (False, True))

    assert 1 <= beside <= alone <= places
    assert alone <= 2 * beside


def test_one_that_asks_long_queries_holds_half_as_many() -> None:
    """Until they are short again; the way to a server that is far away is no query's doing."""
    stage = Stage()
    stage.ask(HOG, 1_000)
    stage.ask(VICTIM)
    stage.end(VICTIM)

    def held(seconds: float) -> int:
        for _ in range(100):
            stage.end(HOG, seconds)
        return stage.held[HOG]

    assert [held(2 * module.LONG_SECONDS), held(module.LONG_SECONDS / 2)] == [PLACES // 8, PLACES // 4]
    stage.line.cheapest_seconds = 1.0
    assert [held(1.0 + module.LONG_SECONDS / 2), held(1.0 + 2 * module.LONG_SECONDS)] == [PLACES // 4, PLACES // 8]


def test_when_the_others_have_been_silent_it_holds_more_again() -> None:
    """What is there is used."""
    stage = Stage()
    stage.ask(HOG, 1_000)
    stage.ask(VICTIM)
    stage.end(VICTIM)
    stage.now += module.ASKED_SECONDS / 2
    for _ in range(10):
        stage.end(HOG)
    stage.now += module.ASKED_SECONDS
    stage.end(HOG)

    assert stage.held[HOG] == PLACES // 2


def test_a_single_place_goes_from_one_to_the_other() -> None:
    """Whoever waits longer in number does not wait less in time."""
    stage = Stage(places=1)
    stage.ask(HOG, 100)
    stage.ask(VICTIM, 10)
    for _ in range(20):
        stage.end(stage.served[-1])

    assert stage.served[1:].count(VICTIM) == 10


def test_who_asks_long_queries_gets_as_much_time_and_not_as_many() -> None:
    """The place is shared by seconds."""
    stage = Stage(places=1)
    stage.ask("long", 1_000)
    stage.ask("short", 1_000)
    cost, seconds = {"long": 1.0, "short": 0.05}, Counter[str]()
    for _ in range(500):
        last = stage.served[-1]
        seconds[last] += cost[last]  # type: ignore[assignment]
        stage.end(last, cost[last])

    assert 0.8 < seconds["long"] / seconds["short"] < 1.25


def test_who_was_idle_has_nothing_saved_up() -> None:
    """It is served in turn, and not until it had as much as the others."""
    stage = Stage(places=1)
    stage.ask(VICTIM)
    stage.end(VICTIM)
    stage.ask(HOG, 200)
    for _ in range(100):
        stage.end(HOG, 1.0)
    stage.ask(VICTIM, 100)
    before = len(stage.served)
    for _ in range(20):
        stage.end(stage.served[-1], 1.0)

    assert Counter(stage.served[before:])[VICTIM] <= 12


def test_a_principal_that_left_still_owes_the_time_that_it_had() -> None:
    """One query after the other, each long: it gets no more than its part of the time."""
    stage = Stage(places=1)
    stage.ask("short", 1_000)
    stage.ask("long")
    cost, seconds = {"long": 1.0, "short": 0.05}, Counter[str]()
    for _ in range(500):
        last = stage.served[-1]
        seconds[last] += cost[last]  # type: ignore[assignment]
        stage.end(last, cost[last])
        if last == "long":
            stage.ask("long")

    assert 0.8 < seconds["long"] / seconds["short"] < 1.25


def test_past_its_line_a_principal_is_refused_and_nobody_else() -> None:
    """Its own overflow is its own."""
    stage = Stage(most_each=10)
    refused = stage.ask(HOG, 100)
    others = stage.ask(VICTIM, 10)

    assert len(refused) == 100 - 10 - PLACES // 2
    assert others == []


def test_where_all_lines_are_full_the_longest_loses_its_last() -> None:
    """A newcomer waits in its place."""
    stage = Stage(places=1, most_each=10, most=10)
    stage.ask(HOG, 11)
    (left,) = stage.ask(VICTIM)

    assert left == 10  # the last of the hog's
    assert stage.line.waiting == 10


def test_where_all_lines_are_full_and_as_long_the_one_that_asks_is_refused() -> None:
    """It would only take another's turn."""
    stage = Stage(places=1, most_each=10, most=4)
    stage.ask(HOG)
    for number in range(4):
        stage.ask(f"principal {number}")
    (left,) = stage.ask("one more")

    assert left == 5
    assert stage.line.waiting == 4


def test_who_leaves_the_line_is_not_served() -> None:
    """Its place goes to the next."""
    stage = Stage(places=1)
    stage.ask(HOG, 3)
    stage.line.leave(HOG, 1)
    stage.line.leave(HOG, 1)
    stage.end(HOG)

    assert stage.line.waiting == 0
    assert stage.served == [HOG, HOG]


def test_it_is_crowded_only_where_some_wait_for_others() -> None:
    """A hog that waits for itself makes nobody poll less often."""
    stage = Stage()
    stage.ask(VICTIM)
    stage.ask(HOG, 100)
    by_itself = stage.line.crowded
    for number in range(PLACES):
        stage.ask(f"principal {number}", 3)

    assert (by_itself, stage.line.crowded) == (False, True)


def test_idle_principals_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand subjects of tokens leave no more than is remembered."""
    monkeypatch.setattr(module, "MAX_IDLE", 100)
    stage = Stage()
    for number in range(1_000):
        stage.ask(f"principal {number}")
        stage.end(f"principal {number}")

    assert len(stage.line._idle) == 100
    assert not stage.line._busy
    assert not stage.line._lines


@pytest.mark.search
@pytest.mark.parametrize("places", [1, 2, 3, 8, 32])
@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost_and_nobody_starves(seed: int, places: int) -> None:
    """Under random asking, leaving and ending: bounds hold, places are used, and in the end all are served."""
    chance = random.Random(seed)
    stage = Stage(places, most_each=5, most=20)
    principals = [f"principal {number}" for number in range(chance.randint(1, 9))]
    running: deque[str] = deque()
    for _ in range(600):
        stage.now += chance.random()
        done = len(stage.served)
        if chance.random() < 0.55:
            stage.ask(chance.choice(principals), chance.randint(1, 4))
        elif running:
            running.rotate(chance.randrange(len(running)))
            stage.end(running.popleft(), chance.expovariate(1))
        running += stage.served[done:]

        assert sum(stage.held.values()) == len(running) <= places
        assert stage.line.waiting <= 20
        assert running or not stage.line.waiting
        assert stage.line._free == places - len(running)
        waits_without = [who for who in stage.line._lines if not stage.held[str(who)]]
        assert not (waits_without and len(running) < places)
    while running:
        done = len(stage.served)
        stage.end(running.popleft(), chance.random())
        running += stage.served[done:]

    assert stage.line.waiting == 0
    assert not stage.line._busy
