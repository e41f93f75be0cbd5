"""What bounds following: an overlap, a memory, an end."""

from datetime import timedelta

from tests.clients.answering import START, Answering, driven


def test_the_overlap_bounds_what_is_asked_and_remembered(api: Answering) -> None:
    """`since` moves on, seldom, and polls in between still find nothing new by their ETag."""
    follower = driven(api, overlap_seconds=30)
    for _ in range(300):
        api.later(1)
        api.add(1)
        follower.rounds()

    assert sorted(follower.ids) == sorted(api.ids)
    assert len(follower.follower._window) <= 2 * 30 + 2
    assert len({request.url for request in api.asked if "page=1&" in request.url}) <= 300 / 30 + 2


def test_an_event_committed_within_the_overlap_is_found_whenever_since_has_moved(api: Answering) -> None:
    """To the microsecond: events come as late as they may, all the time."""
    follower = driven(api, overlap_seconds=30)
    for _ in range(200):
        api.later(1.7)
        api.add(3, ago=30)
        follower.rounds()
        api.add(1, ago=30)
        follower.rounds()

    assert sorted(follower.ids) == sorted(api.ids)


def test_an_event_committed_later_than_the_overlap_may_be_missed(api: Answering) -> None:
    """What the README says that `since` does not allow; without an overlap it comes."""
    followers = [driven(api, overlap_seconds=30), driven(api)]
    for follower in followers:
        api.add(5)
        follower.rounds()
    api.later(100)
    for follower in followers:
        api.add(1)
        follower.rounds()
        late = api.add(1, ago=90)
        follower.rounds()
        assert (late[0] in follower.ids) == (follower is followers[1])


def test_memory_is_bounded_and_nothing_comes_twice(api: Answering) -> None:
    """A session longer than what is remembered comes once, in order, at the start and later."""
    ids = api.add(950, ago=2000, step=1)
    follower = driven(api, remember=100)
    sizes = []
    while not follower.step().wait_seconds:
        sizes.append(len(follower.follower._window))
    assert follower.ids == ids
    assert max(sizes) <= 110
    for _ in range(30):
        api.later(1)
        api.add(25)
        follower.rounds()

    assert sorted(follower.ids) == sorted(api.ids)


def test_events_of_one_instant_are_not_forgotten_before_all_are_read(api: Answering) -> None:
    """Though there are more of them than are remembered."""
    api.add(20, ago=10)
    api.add(450)
    follower = driven(api, remember=100)
    follower.rounds(3)
    api.add(5)
    follower.rounds()

    assert sorted(follower.ids) == sorted(api.ids)


def test_a_burst_longer_than_the_memory_does_not_fill_it(api: Answering) -> None:
    """Twice what is remembered is the most, even while pages are read."""
    api.add(60, ago=2000, step=1)
    follower = driven(api, remember=100)
    follower.rounds()
    api.later(1)
    api.add(900, ago=0.9, step=0.001)
    sizes = []
    while not follower.step().wait_seconds:
        sizes.append(len(follower.follower._window))

    assert follower.ids == api.ids
    assert max(sizes) <= 200


def test_nothing_is_forgotten_while_an_older_event_is_missing(api: Answering) -> None:
    """A burst that fills the memory comes together with a late commit, deep down."""
    api.add(95, ago=200, step=1)
    follower = driven(api, remember=100)
    follower.rounds()
    api.later(1)
    api.add(30, ago=0.9, step=0.01)
    late = api.add(1, ago=198)
    follower.rounds()

    assert late[0] in follower.ids
    assert len(follower.ids) == 126


def test_infinite_timestamps_are_known_by_id_like_others(api: Answering) -> None:
    """They lie above every floor."""
    api.add(3)
    api.events[0]["timestamp"], api.events[1]["timestamp"] = "infinity", "294276-12-31T23:59:59.999999Z"
    follower = driven(api, overlap_seconds=1)
    for _ in range(5):
        api.later(5)
        api.add(1)
        follower.rounds()

    assert sorted(follower.ids) == sorted(api.ids)


def test_instants_that_since_cannot_say_are_remembered_rather_than_asked_for_again(api: Answering) -> None:
    """More of them than are remembered, below the year 1 and above 9999: nothing comes twice, nothing stops."""
    api.add(300, ago=500, step=1)
    for place, event in enumerate(api.events):
        if place < 120:
            event["timestamp"] = "-infinity" if place % 2 else f"{4700 - place:04}-01-01 00:00:00+00 BC"
        elif place >= 180:
            event["timestamp"] = "infinity" if place % 2 else f"{10000 + place}-01-01 00:00:00+00"
    follower = driven(api, remember=100)
    follower.rounds(3)
    api.add(150)
    follower.rounds(3)

    assert sorted(follower.ids) == sorted(api.ids)


def test_until_ends_it_once_all_that_was_committed_before_has_come(api: Answering) -> None:
    """Also by a 304."""
    api.add(25)
    follower = driven(api, until=START + timedelta(seconds=5))
    follower.rounds()
    assert not follower.step().ended
    api.later(5)
    last = follower.step()

    assert (last.ended, last.events, len(follower.ids)) == (True, (), 25)
