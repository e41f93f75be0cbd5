"""Standard streams: they hold any text, wait where a descriptor does not, and say why they could not be written."""

import codecs
import os
import threading
from collections.abc import Iterator

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readside import streams

ENCODINGS = ("ascii", "latin-1", "cp437", "koi8-r", "cp1251", "gb18030", "utf-7", "utf-16", "utf-8")
anything = st.text(st.characters(exclude_categories=()))  # halves of surrogates too: what the environment may hold


@pytest.fixture(autouse=True, scope="module")
def escapes() -> None:
    """What a process registers when it begins."""
    codecs.register_error(streams.ESCAPES, streams._escaped)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe; a test closes the end that it reads."""
    ends = os.pipe()
    yield ends
    os.close(ends[1])


def written(text: str, encoding: str) -> bytes:
    """What comes out of a stream in this encoding."""
    place = os.memfd_create("stream")
    try:
        stream = streams._text(streams._Descriptor(place), _Named(encoding))
        stream.write(text)
        stream.flush()
        return os.pread(place, os.fstat(place).st_size, 0)
    finally:
        os.close(place)


class _Named:
    """The stream that Python made, of which the encoding counts."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding


@settings(derandomize=True, deadline=None)
@given(text=anything, encoding=st.sampled_from(ENCODINGS))
def test_any_text_in_any_encoding(text: str, encoding: str) -> None:
    """No character is an error; those that the encoding has come through as they are."""
    holds = all(_holds(character, encoding) for character in text)
    found = written(text, encoding)

    assert (found.decode(encoding) == text) is holds
    assert holds or "\\u" in found.decode(encoding)


def _holds(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


@settings(derandomize=True, deadline=None)
@given(value=st.dictionaries(st.text(), st.text()), encoding=st.sampled_from(("ascii", "latin-1", "cp437", "utf-16")))
def test_json_stays_json(value: dict[str, str], encoding: str) -> None:
    """With the same content, whatever the stream holds."""
    assert orjson.loads(written(orjson.dumps(value).decode(), encoding).decode(encoding)) == value


def test_a_descriptor_that_does_not_wait(pipe: tuple[int, int]) -> None:
    """Somebody who shares the terminal made it so: all is written all the same."""
    reading, writing = pipe
    os.set_blocking(writing, False)
    descriptor = streams._Descriptor(writing)
    left = memoryview(bytes(1_000_000))

    def write() -> None:
        nonlocal left
        while left:
            left = left[descriptor.write(left) :]

    writer = threading.Thread(target=write)
    writer.start()
    count = 0
    while count < 1_000_000:
        count += len(os.read(reading, 65_536))
    writer.join()
    os.close(reading)

    assert not left


def test_standard_error_forgives(pipe: tuple[int, int]) -> None:
    """A line of the log that nobody can read is dropped; the reason is known."""
    reading, writing = pipe
    os.close(reading)
    descriptor = streams._Forgiving(writing)

    assert descriptor.write(b"lost") == 4
    assert isinstance(descriptor.lost, BrokenPipeError)


def test_standard_output_does_not(pipe: tuple[int, int]) -> None:
    """A watch must end when its reader goes."""
    reading, writing = pipe
    os.close(reading)
    descriptor = streams._Descriptor(writing)
    with pytest.raises(BrokenPipeError):
        descriptor.write(b"lost")

    assert isinstance(descriptor.lost, BrokenPipeError)
