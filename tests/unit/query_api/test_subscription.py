"""What is heard of each slice goes to the cache; what is not heard goes to the log, once."""

from collections.abc import AsyncGenerator, Mapping

import pytest
from structlog.testing import capture_logs

from query_api.sources.subscription import Subscription
from readmodel.errors import ViewUnavailable
from readmodel.values.messages import Change
from readmodel.view.subscription import Lost

AWAY = ViewUnavailable("Redis does not answer.")


class Channels:
    """What happens on channels, in order: a message, None where one is heard, or names that are lost."""

    def __init__(self, *happened: tuple[str, bytes | None] | set[str]) -> None:
        self.happened = happened

    async def hear(self, channels: Mapping[str, int], lost: Lost) -> AsyncGenerator[tuple[str, bytes | None], None]:
        """Subscribe."""
        for one in self.happened:
            if isinstance(one, set):
                lost(one, AWAY)
            else:
                assert one[0] in channels
                yield one


async def heard(*happened: tuple[str, bytes | None] | set[str], names: str = "abc") -> list[tuple[int, Change]]:
    """The messages that are handed on, each with its slice."""
    told: list[tuple[int, Change]] = []
    channels = {name: slot for slot, name in enumerate(names)}
    await Subscription(channels, Channels(*happened).hear, lambda change, _, index: told.append((index, change))).run()
    return told


async def test_messages_are_handed_on_with_their_slice() -> None:
    """Each slice counts by itself."""
    told = await heard(("b", None), ("b", b"d t 1 - - 5 x y"), ("c", b"d u 2 7 8 6 "))

    assert told == [(1, Change("t", 1, None, None, ("x", "y"), 5, "d")), (2, Change("u", 2, 7, 8, (), 6, "d"))]


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xfe", b"d t x - - 5 a"], ids=repr)
async def test_what_is_no_message_of_ours_is_ignored(data: bytes) -> None:
    """Anybody can publish on the channel; a number that is missing tells."""
    assert [change.n for _, change in await heard(("a", data), ("a", b"d t 1 - - 5 x"))] == [1]


async def logged(*happened: tuple[str, bytes | None] | set[str], names: str = "abc") -> list[tuple[str, object]]:
    """The lines of the log, and of how many slices."""
    with capture_logs() as lines:
        await heard(*happened, names=names)
    return [(line["event"], line.get("slices")) for line in lines]


async def test_the_log_says_once_that_all_are_heard() -> None:
    """Not once a slice; of a view of one slice it says no number."""
    assert await logged(("a", None), ("b", None), ("c", None), ("a", None)) == [("changes are heard", 3)]
    assert await logged(("a", None), names="a") == [("changes are heard", None)]


async def test_the_log_says_once_what_is_lost_and_once_that_it_is_back() -> None:
    """However often it is tried meanwhile; the slices of another server are told by themselves."""
    begun = [("a", None), ("b", None), ("c", None)]

    assert await logged(*begun, {"a", "b"}, {"a", "b"}, {"c"}, ("c", None), ("a", None), ("b", None)) == [
        ("changes are heard", 3),
        ("changes are not heard", 2),
        ("changes are not heard", 1),
        ("changes are heard", 1),
        ("changes are heard", 2),
    ]


async def test_a_server_that_is_away_from_the_beginning_is_told() -> None:
    """The rest is heard meanwhile."""
    assert await logged({"a"}, ("b", None), ("c", None), {"a"}, ("a", None)) == [
        ("changes are not heard", 1),
        ("changes are heard", 2),
        ("changes are heard", 1),
    ]


async def test_a_view_of_one_slice_is_told_of_as_ever() -> None:
    """Lost and heard, each once."""
    assert await logged({"a"}, {"a"}, ("a", None), ("a", None), {"a"}, names="a") == [
        ("changes are not heard", None),
        ("changes are heard", None),
        ("changes are not heard", None),
    ]
