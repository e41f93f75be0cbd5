"""Commands as they go to Redis: packed by us, or of words that come packed."""

import pytest

from readmodel.redis.overrides import PackedWords, pack
from tests.fakes.redis import spelled_out


@pytest.mark.parametrize("pieces", [[], [b"$1\r\n5\r\n$4\r\na\r\n\xff\r\n"], [b"$1\r\n5\r\n", b"$4\r\na\r\n\xff\r\n"]])
def test_packed_words_are_words(pieces: list[bytes]) -> None:
    """In any number of pieces; none is a command without them."""
    packed = PackedWords(2 if pieces else 0, pieces)
    command = ["ZADD", "key", packed]

    assert b"".join(pack(command)) == b"".join(pack(spelled_out(command)))
    assert len(spelled_out(command)) == 2 + packed.count


def test_a_name_may_be_two_words() -> None:
    """SCRIPT LOAD and its like."""
    assert pack(["SCRIPT LOAD", "return 1"]) == [b"*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n$8\r\nreturn 1\r\n"]
    assert pack(["PING"]) == [b"*1\r\n$4\r\nPING\r\n"]


def test_packed_words_are_not_shown() -> None:
    """redis-py quotes a command in its errors: what events say belongs into no log."""
    assert "secret" not in repr(PackedWords(1, [b"$6\r\nsecret\r\n"]))
