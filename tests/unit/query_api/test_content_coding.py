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

from query_api.memory import content_coding
from query_api.memory.answers import Answer, found
from query_api.memory.content_coding import MAX_ACCEPTED_BYTES, GzipForm, GzipForms, accepts_gzip
from readmodel.values.poll import Poll
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


class Press:
    """The compressed forms of answers, and how they are made."""

    def __init__(self, max_bytes: int = 1_000_000) -> None:
        self.forms = GzipForms(max_bytes)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the thread busy for as long as the block lasts."""
        go_on = threading.Event()
        self.forms._thread.submit(go_on.wait, HELD_SECONDS)
        try:
            yield
        finally:
            go_on.set()

    def start(self, one: Answer) -> "asyncio.Task[GzipForm | None]":
        """Ask for a compressed form."""
        return asyncio.create_task(self.forms.make(one))

    async def waiting(self, bodies: int) -> None:
        """Wait until so many bodies are in the line."""
        await eventually(lambda: len(self.forms._line) == bodies, f"{bodies} bodies wait")

    def body(self, one: Answer) -> bytes:
        """The compressed body that is kept of an answer; empty while there is none."""
        form = self.forms.known(one)
        return form.body if form else b""


@pytest.fixture
def press() -> Iterator[Press]:
    """One, closed in the end."""
    made = Press()
    yield made
    made.forms.close()


def answer(body: bytes = BODY) -> Answer:
    """A 200 that has no compressed form yet."""
    return found(POLL.session_id, body, terminal=False)


async def test_an_answer_gets_its_compressed_form(press: Press) -> None:
    """The same bytes, once they are unpacked; who counts the bytes is told."""
    one = answer()
    await press.forms.make(one)

    assert gzip.decompress(press.body(one)) == BODY
    assert len(press.body(one)) < len(BODY) / 3
    assert (press.forms.made, press.forms.refused) == (1, 0)


async def test_the_loop_does_not_compress(press: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread does."""
    threads: list[threading.Thread] = []

    def compressed(_: bytes) -> bytes:
        threads.append(threading.current_thread())
        return b"z"

    monkeypatch.setattr(content_coding, "_compressed", compressed)
    await press.forms.make(answer())

    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


async def test_a_crowd_is_compressed_for_once(press: Press) -> None:
    """The same bytes are the same work: of one answer, and of several that were read at once."""
    answers = [answer() for _ in range(10)]
    with press.held():
        tasks = [press.start(one) for one in answers * 3]
        await press.waiting(1)
    await asyncio.gather(*tasks)

    assert press.forms.made == 1
    assert {gzip.decompress(press.body(one)) for one in answers} == {BODY}


async def test_who_leaves_takes_it_from_nobody(press: Press) -> None:
    """Not from those who wait for the same bytes, nor from memory: the work is done all the same."""
    left, stayed = answer(), answer()
    with press.held():
        leaving, staying = press.start(left), press.start(stayed)
        await press.waiting(1)
        leaving.cancel()
        await asyncio.wait([leaving])
    await staying

    assert press.body(left)
    assert press.body(left) == press.body(stayed)


async def test_a_line_that_is_full_lets_answers_go_as_they_are(press: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one does not wait; once the line is shorter, answers are compressed again."""
    monkeypatch.setattr(content_coding, "MAX_LINE", 2)
    answers = [answer(BODY + b" " * n) for n in range(3)]
    with press.held():
        tasks = [press.start(one) for one in answers[:2]]
        await press.waiting(2)
        await press.forms.make(answers[2])
    await asyncio.gather(*tasks)

    assert [bool(press.body(one)) for one in answers] == [True, True, False]
    assert (press.forms.made, press.forms.refused) == (2, 1)
    await press.forms.make(answers[2])
    assert press.body(answers[2])


async def test_a_line_is_full_by_its_bytes_too(press: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits behind what takes long; a body that is longer than the bound goes where it is alone."""
    long, short = answer(BODY * 2), answer(BODY)
    monkeypatch.setattr(content_coding, "MAX_LINE_BYTES", len(long.body) + len(short.body) - 1)
    with press.held():
        first = press.start(short)
        await press.waiting(1)
        await press.forms.make(long)
    await first
    assert (bool(press.body(short)), bool(press.body(long))) == (True, False)

    monkeypatch.setattr(content_coding, "MAX_LINE_BYTES", 1)
    await press.forms.make(long)
    assert press.body(long)


async def test_a_line_holds_what_its_bounds_say(press: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last byte."""
    one, other = answer(BODY), answer(BODY + b" ")
    monkeypatch.setattr(content_coding, "MAX_LINE_BYTES", len(one.body) + len(other.body))
    with press.held():
        tasks = [press.start(each) for each in (one, other)]
        await press.waiting(2)
    await asyncio.gather(*tasks)

    assert press.body(other)


async def test_what_does_not_get_smaller_is_left_as_it_is(press: Press) -> None:
    """For good: nobody waits for it again."""
    one = answer(random.Random(1).randbytes(2_000))
    await press.forms.make(one)
    form = press.forms.known(one)

    assert form
    assert (form.body, form.fields) == (b"", one.fields)
    assert await press.forms.make(one) is form
    assert press.forms.made == 1


async def test_forms_take_no_more_than_their_memory() -> None:
    """Those that were least recently used leave; what is too long for all of it is made, and not kept."""
    answers = [answer(BODY + b" " * n) for n in range(3)]
    size = len(gzip.compress(BODY)) + content_coding.FORM_OVERHEAD_BYTES
    press = Press(max_bytes=2 * size + size // 2)
    for one in answers[:2]:
        await press.forms.make(one)
    assert press.body(answers[0])  # used, and so younger than the other one
    await press.forms.make(answers[2])

    assert [bool(press.body(one)) for one in answers] == [True, False, True]
    kept = [len(press.body(one)) + content_coding.FORM_OVERHEAD_BYTES for one in answers if press.body(one)]
    assert press.forms.bytes == sum(kept) <= press.forms.max_bytes
    press.forms.close()

    none = Press(max_bytes=0)
    form = await none.forms.make(answers[0])
    assert form
    assert gzip.decompress(form.body) == answers[0].body
    assert (none.forms.known(answers[0]), none.forms.bytes) == (None, 0)
    none.forms.close()


async def test_a_form_that_is_too_long_for_all_memory_pushes_none_out() -> None:
    """It would have to leave itself."""
    short, long = answer(), answer(random.Random(1).randbytes(3_000).hex().encode())
    press = Press(max_bytes=len(gzip.compress(BODY)) + content_coding.FORM_OVERHEAD_BYTES + 100)
    for one in (short, long):
        assert await press.forms.make(one)

    assert (bool(press.body(short)), press.body(long)) == (True, b"")
    press.forms.close()


async def test_a_form_is_that_of_its_bytes(press: Press) -> None:
    """Whichever session's answer they are, however it came to be."""
    await press.forms.make(answer())
    other = found("22222222-2222-4222-8222-222222222222", BODY, terminal=True)

    assert gzip.decompress(press.body(other)) == BODY
    assert press.forms.made == 1


async def test_a_compression_that_fails_costs_the_form_alone(press: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer leaves as it is; the next time it is tried again."""
    one = answer()
    with monkeypatch.context() as patch:
        patch.setattr(content_coding, "_compressed", _fail)
        await press.forms.make(one)
    assert (press.body(one), press.forms.made) == (b"", 0)

    await press.forms.make(one)
    assert press.body(one)


async def test_a_thread_that_gives_up_takes_nobody_with_it(press: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it raises, those who wait get the answer as it is, and the next one is compressed."""
    one, other = answer(), answer(BODY + b" ")
    with monkeypatch.context() as patch:
        patch.setattr(content_coding, "_compressed", _give_up)
        await press.forms.make(one)
    await press.forms.make(other)

    assert (press.body(one), bool(press.body(other))) == (b"", True)
    assert press.forms._line == {}


async def test_nobody_waits_for_long(press: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that does not get on costs its form alone, which is taken once it is made after all."""
    monkeypatch.setattr(content_coding, "WAIT_SECONDS", 0.01)
    one = answer()
    with press.held():
        await press.forms.make(one)
        assert (press.body(one), press.forms.refused) == (b"", 1)
    await eventually(lambda: bool(press.body(one)), "it is made")


async def test_nobody_begins_to_wait_for_what_is_overdue(press: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is anything remembered of those who come: a thread that stands still fills no memory."""
    monkeypatch.setattr(content_coding, "WAIT_SECONDS", 0.01)
    with press.held():
        await press.forms.make(answer())
        await eventually(lambda: time.monotonic() - press.forms._line[answer().etag].since > 0.01, "it is late")
        for _ in range(100):
            await press.forms.make(answer())

        assert press.forms.waiting == 0
        assert press.forms.refused == 101
    await press.waiting(0)


async def test_the_same_bytes_are_the_same_form() -> None:
    """Of whichever process, and whenever: no name, no time."""
    presses = Press(), Press()
    for each in presses:
        await each.forms.make(answer())
        each.forms.close()
    one, other = [each.body(answer()) for each in presses]

    assert one == other
    assert one[3:8] == bytes(5)  # RFC 1952: no flags, and no time


async def test_the_end_waits_for_nothing(press: Press) -> None:
    """Who waits in the line gets the answer as it is, and nobody can get into it any more."""
    one, late = answer(), answer(BODY + b" ")
    with press.held():
        task = press.start(one)
        await press.waiting(1)
        press.forms.close()
        await task
        await press.forms.make(late)

    assert (press.body(one), press.body(late)) == (b"", b"")
    assert press.forms.refused == 1


def _give_up(_: bytes) -> bytes:
    raise SystemExit


def _fail(_: bytes) -> bytes:
    raise MemoryError
