"""Requests reach the leader by one of the report slices: the next one where the first is away or deaf."""

from collections.abc import Callable

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from query_api.sources.request_line import RequestLine
from readmodel.errors import ViewUnavailable
from readmodel.values.messages import ProjectorRequest
from readmodel.view.keys import Keys
from readmodel.view.reader import ViewReader
from tests.fakes.redis import fake_redis

REQUEST = ProjectorRequest("warm", ("a",))


class Bench:
    """Three slices, each on a Redis of its own: how many hear there, or None where it is away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *hearing: int | None) -> None:
        self.hearing = list(hearing)
        self.asked: list[int] = []
        parts = [ViewReader(fake_redis(), Keys("readside", tag=str(index))) for index in range(len(hearing))]
        for index, part in enumerate(parts):
            monkeypatch.setattr(part.redis, "execute_command", self._answering(index))
        self.line = RequestLine(parts)

    def _answering(self, index: int) -> Callable[..., object]:
        async def execute(name: str, channel: str, _data: bytes) -> int:
            assert (name, channel) == ("PUBLISH", f"readside:{{{index}}}:requests:0")
            self.asked.append(index)
            found = self.hearing[index]
            if found is None:
                raise RedisConnectionError("away")
            return found

        return execute


async def test_a_request_goes_by_the_first_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """By no other: the leader hears all of them."""
    bench = Bench(monkeypatch, 1, 1, 1)

    assert [await bench.line.send(REQUEST), await bench.line.send(REQUEST)] == [1, 1]
    assert bench.asked == [0, 0]


@pytest.mark.parametrize("first", [None, 0], ids=["away", "nobody hears"])
async def test_the_next_slice_is_taken_and_kept(monkeypatch: pytest.MonkeyPatch, first: int | None) -> None:
    """Whoever asks next does not wait for the one that is away."""
    bench = Bench(monkeypatch, first, 2, 1)

    assert [await bench.line.send(REQUEST), await bench.line.send(REQUEST)] == [2, 2]
    assert bench.asked == [0, 1, 1]


async def test_a_slice_that_is_back_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """When those after it are away."""
    bench = Bench(monkeypatch, None, 1, None)
    await bench.line.send(REQUEST)
    bench.hearing = [1, None, None]

    assert await bench.line.send(REQUEST) == 1
    assert bench.asked == [0, 1, 1, 2, 0]


async def test_nobody_hears_where_one_that_answers_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is asked once."""
    bench = Bench(monkeypatch, 0, None, 0)

    assert await bench.line.send(REQUEST) == 0
    assert sorted(bench.asked) == [0, 1, 2]


async def test_a_request_fails_where_all_are_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason of the last."""
    bench = Bench(monkeypatch, None, None)

    with pytest.raises(ViewUnavailable):
        await bench.line.send(REQUEST)
    assert sorted(bench.asked) == [0, 1]
