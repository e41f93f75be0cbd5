"""Who accepts gzip, and how answers are compressed: once, in a line that is bounded, beside the event loop."""

import asyncio
import gzip
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api import content_coding
from query_api.answers import Answer, found
from query_api.content_coding import MAX_ACCEPTED_BYTES, Compressor, accepts_gzip
from readmodel.poll import Poll
from tests.support.waiting import eventually

POLL = Poll("11111111-1111-4111-8111-111111111111")
BODY = b'{"items":[%b]}' % b",".join(b'{"n":%d}' % n for n in range(500))
HELD_SECONDS = 30
"""At most: a test that fails holds nobody up."""


@pytest.mark.parametrize(
    "value",
    [b"gzip", b"GZip", b"x-gzip", b"gzip, deflate, br, zstd", b"br;q=1.0, gzip;q=0.8, *;q=0.1", b"*", b"*;q=0.001",
     b"gzip;q=1", b"gzip;q=1.000", b"gzip;q=0.001", b"gzip ; q=0.5", b"gzip;\tq=0.5", b"gzip;Q=0.5", b" gzip ",
     b",,gzip,", b"deflate,gzip", b"gzip, identity", b"identity;q=0.5, gzip;q=0.5", b"identity;q=0.1, *",
     b"identity;q=0, gzip", b"gzip, *;q=0", b"x-gzip, gzip"],
)  # fmt: skip
def test_gzip_is_accepted(value: bytes) -> None:
    """By its name, its old name, or `*`; any weight but 0 that is not less than identity's."""
    assert accepts_gzip(value)


@pytest.mark.parametrize(
    "value",
    [b"", b" ", b",", b"identity", b"deflate, br", b"gzip;q=0", b"gzip;q=0.0", b"gzip;q=0.000", b"x-gzip;q=0",
     b"*;q=0", b"*, gzip;q=0", b"gzip;q=0, *", b"gzip, gzip;q=0", b"gzip;q=0, gzip", b"gzip;q=0, x-gzip",
     b"gzip;q=0.5, identity", b"gzip;q=0.5, identity;q=0.6", b"*;q=0.5, identity;q=0.6"],
)  # fmt: skip
def test_gzip_is_not_accepted(value: bytes) -> None:
    """Weight 0 refuses, wherever it stands; who would rather have it plain gets it so."""
    assert not accepts_gzip(value)


@pytest.mark.parametrize(
    "value",
    [b"gzip;q=2", b"gzip;q=1.001", b"gzip;q=-1", b"gzip;q=.5", b"gzip;q=0.0001", b"gzip;q=", b"gzip;q", b"gzip;level=9",
     b"gzip;q=1;q=1", b"gzip br", b"gzip/9", b'"gzip"', b"gzipped", b"notgzip", b"\xffgzip", b"gzip;q=\xb2"],
)  # fmt: skip
def test_what_is_malformed_says_nothing(value: bytes) -> None:
    """Neither by itself nor beside what is well-formed."""
    assert not accepts_gzip(value)
    assert accepts_gzip(b"gzip, " + value)


def test_a_very_long_header_is_not_read() -> None:
    """Answers leave as they are, which everybody understands."""
    longest = b"gzip," + b"a" * (MAX_ACCEPTED_BYTES - 5)

    assert accepts_gzip(longest)
    assert not accepts_gzip(longest + b"a")


@given(st.binary(max_size=300))
def test_whatever_is_sent_is_understood_somehow(value: bytes) -> None:
    """Headers come from anybody."""
    assert accepts_gzip(value) in {True, False}


class Weights:
    """A compressor, and the polls whose answers it has told to have grown."""

    def __init__(self) -> None:
        self.grown: list[Poll] = []
        self.compressor = Compressor(self.grown.append)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the thread busy for as long as the block lasts."""
        go_on = threading.Event()
        self.compressor._thread.submit(go_on.wait, HELD_SECONDS)
        try:
            yield
        finally:
            go_on.set()

    def start(self, one: Answer, poll: Poll = POLL) -> "asyncio.Task[None]":
        """Ask for a compressed form."""
        return asyncio.create_task(self.compressor.compress(poll, one))

    async def waiting(self, bodies: int) -> None:
        """Wait until so many bodies are in the line."""
        await eventually(lambda: len(self.compressor._line) == bodies, f"{bodies} bodies wait")


@pytest.fixture
def weights() -> Iterator[Weights]:
    """One, closed in the end."""
    made = Weights()
    yield made
    made.compressor.close()


def answer(body: bytes = BODY) -> Answer:
    """A 200 that has no compressed form yet."""
    return found(POLL.session_id, body, terminal=False)


def body_of(one: Answer) -> bytes:
    """The compressed body; empty while there is none."""
    return one.gzip.body if one.gzip else b""


async def test_an_answer_gets_its_compressed_form(weights: Weights) -> None:
    """The same bytes, once they are unpacked; who counts the bytes is told."""
    one = answer()
    await weights.compressor.compress(POLL, one)

    assert gzip.decompress(body_of(one)) == BODY
    assert len(body_of(one)) < len(BODY) / 3
    assert weights.grown == [POLL]
    assert (weights.compressor.made, weights.compressor.refused) == (1, 0)


async def test_the_loop_does_not_compress(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread does."""
    threads: list[threading.Thread] = []

    def compressed(_: bytes) -> bytes:
        threads.append(threading.current_thread())
        return b"z"

    monkeypatch.setattr(content_coding, "_compressed", compressed)
    await weights.compressor.compress(POLL, answer())

    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


async def test_a_crowd_is_compressed_for_once(weights: Weights) -> None:
    """The same bytes are the same work: of one answer, and of several that were read at once."""
    answers = [answer() for _ in range(10)]
    other = POLL._replace(limit=7)
    with weights.held():
        tasks = [weights.start(one) for one in answers * 3] + [weights.start(answers[0], other)]
        await weights.waiting(1)
    await asyncio.gather(*tasks)

    assert weights.compressor.made == 1
    assert {gzip.decompress(body_of(one)) for one in answers} == {BODY}
    assert sorted(weights.grown) == sorted([POLL, other])


async def test_who_leaves_takes_it_from_nobody(weights: Weights) -> None:
    """Not from those who wait for the same bytes, nor from memory: the work is done all the same."""
    left, stayed = answer(), answer()
    with weights.held():
        leaving, staying = weights.start(left), weights.start(stayed)
        await weights.waiting(1)
        leaving.cancel()
        await asyncio.wait([leaving])
    await staying

    assert body_of(left)
    assert body_of(left) == body_of(stayed)


async def test_a_line_that_is_full_lets_answers_go_as_they_are(
    weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one does not wait; once the line is shorter, answers are compressed again."""
    monkeypatch.setattr(content_coding, "MAX_LINE", 2)
    answers = [answer(BODY + b" " * n) for n in range(3)]
    with weights.held():
        tasks = [weights.start(one) for one in answers[:2]]
        await weights.waiting(2)
        await weights.compressor.compress(POLL, answers[2])
    await asyncio.gather(*tasks)

    assert [bool(body_of(one)) for one in answers] == [True, True, False]
    assert (weights.compressor.made, weights.compressor.refused) == (2, 1)
    await weights.compressor.compress(POLL, answers[2])
    assert body_of(answers[2])


async def test_a_line_is_full_by_its_bytes_too(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits behind what takes long; a body that is longer than the bound goes where it is alone."""
    long, short = answer(BODY * 2), answer(BODY)
    monkeypatch.setattr(content_coding, "MAX_LINE_BYTES", len(long.body) + len(short.body) - 1)
    with weights.held():
        first = weights.start(short)
        await weights.waiting(1)
        await weights.compressor.compress(POLL, long)
    await first
    assert (bool(body_of(short)), bool(body_of(long))) == (True, False)

    monkeypatch.setattr(content_coding, "MAX_LINE_BYTES", 1)
    await weights.compressor.compress(POLL, long)
    assert body_of(long)


async def test_a_line_holds_what_its_bounds_say(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last byte."""
    one, other = answer(BODY), answer(BODY + b" ")
    monkeypatch.setattr(content_coding, "MAX_LINE_BYTES", len(one.body) + len(other.body))
    with weights.held():
        tasks = [weights.start(each) for each in (one, other)]
        await weights.waiting(2)
    await asyncio.gather(*tasks)

    assert body_of(other)


async def test_what_does_not_get_smaller_is_left_as_it_is(weights: Weights) -> None:
    """For good: nobody waits for it again."""
    one = answer(random.Random(1).randbytes(2_000))
    before = one.gzip_bytes
    await weights.compressor.compress(POLL, one)

    assert before > one.gzip_bytes == 0
    assert one.gzip is None


async def test_a_compression_that_fails_costs_the_form_alone(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer leaves as it is; the next time it is tried again."""
    one = answer()
    with monkeypatch.context() as patch:
        patch.setattr(content_coding, "_compressed", _fail)
        await weights.compressor.compress(POLL, one)
    assert (body_of(one), weights.grown, weights.compressor.made) == (b"", [], 0)

    await weights.compressor.compress(POLL, one)
    assert body_of(one)


async def test_a_thread_that_gives_up_takes_nobody_with_it(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it raises, those who wait get the answer as it is, and the next one is compressed."""
    one, other = answer(), answer(BODY + b" ")
    with monkeypatch.context() as patch:
        patch.setattr(content_coding, "_compressed", _give_up)
        await weights.compressor.compress(POLL, one)
    await weights.compressor.compress(POLL, other)

    assert (body_of(one), bool(body_of(other))) == (b"", True)
    assert weights.compressor._line == {}


async def test_nobody_waits_for_long(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that does not get on costs its form alone, which is taken once it is made after all."""
    monkeypatch.setattr(content_coding, "WAIT_SECONDS", 0.01)
    one = answer()
    with weights.held():
        await weights.compressor.compress(POLL, one)
        assert (body_of(one), weights.compressor.refused) == (b"", 1)
    await eventually(lambda: bool(body_of(one)), "it is made")

    assert weights.grown == [POLL]


async def test_nobody_begins_to_wait_for_what_is_overdue(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is anything remembered of those who come: a thread that stands still fills no memory."""
    monkeypatch.setattr(content_coding, "WAIT_SECONDS", 0.01)
    with weights.held():
        await weights.compressor.compress(POLL, answer())
        await eventually(lambda: time.monotonic() - weights.compressor._line[answer().etag].since > 0.01, "it is late")
        for _ in range(100):
            await weights.compressor.compress(POLL, answer())

        assert len(weights.compressor._line[answer().etag].answers) == 1
        assert weights.compressor.refused == 101
    await weights.waiting(0)


async def test_the_same_bytes_are_the_same_form() -> None:
    """Of whichever process, and whenever: no name, no time."""
    one, other = Weights(), Weights()
    forms = [answer(), answer()]
    for weights, form in zip((one, other), forms, strict=True):
        await weights.compressor.compress(POLL, form)
        weights.compressor.close()

    assert body_of(forms[0]) == body_of(forms[1])
    assert body_of(forms[0])[3:8] == bytes(5)  # RFC 1952: no flags, and no time


async def test_the_end_waits_for_nothing(weights: Weights) -> None:
    """Who waits in the line gets the answer as it is, and nobody can get into it any more."""
    one, late = answer(), answer(BODY + b" ")
    with weights.held():
        task = weights.start(one)
        await weights.waiting(1)
        weights.compressor.close()
        await task
        await weights.compressor.compress(POLL, late)

    assert (body_of(one), body_of(late)) == (b"", b"")
    assert weights.compressor.refused == 1


def _give_up(_: bytes) -> bytes:
    raise SystemExit


def _fail(_: bytes) -> bytes:
    raise MemoryError
