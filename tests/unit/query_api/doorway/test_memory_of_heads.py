"""What the connections of a process remember: of heads no more than fits, and of the date nothing that is over."""

from typing import cast

import pytest

from query_api.doorway.census import Census
from query_api.doorway.connections import (
    FIELDS_BYTES,
    POLL_BYTES,
    POLLS_BYTES,
    REMEMBERED_FIELDS,
    REMEMBERED_POLLS,
    Connections,
)
from query_api.doorway.front import Front
from query_api.http.cors import Cors
from query_api.http.reply import NO_FIELDS, Reply
from query_api.http.request_fields import RequestFields
from query_api.polls.events import Events, Question
from query_api.streams.stream import Stream
from tests.support.builders import socket_bounds

QUESTION = Question("GET", "a", b"", RequestFields())


@pytest.fixture
def shared() -> Connections:
    """The connections of a process, none yet."""
    return Connections(Front(cast("Events", None), cast("Stream", None), Cors(()), ""), socket_bounds(), Census(1))


def test_the_polls_that_came_first_are_forgotten_first(shared: Connections) -> None:
    """Only as many as there is room for stay."""
    heads = [b"%d" % number for number in range(REMEMBERED_POLLS + 2)]
    for head in heads:
        shared.remember(head, QUESTION)

    assert list(shared.polls) == heads[2:]


def test_polls_are_remembered_within_a_bound_of_bytes(shared: Connections) -> None:
    """Long ones leave room for fewer; who asks the same again takes no more."""
    heads = [b"%d " % number + b"a" * (POLL_BYTES - 8) for number in range(2 * POLLS_BYTES // POLL_BYTES)]
    for head in heads:
        shared.remember(head, QUESTION)
        shared.remember(head, QUESTION)

    assert POLLS_BYTES - POLL_BYTES < sum(map(len, shared.polls)) <= POLLS_BYTES
    assert list(shared.polls) == heads[-len(shared.polls) :]


def test_a_long_poll_is_not_remembered(shared: Connections) -> None:
    """From one byte past the bound on."""
    for size in (POLL_BYTES, POLL_BYTES + 1):
        shared.remember(b"a" * size, QUESTION)

    assert list(map(len, shared.polls)) == [POLL_BYTES]


def test_fields_are_remembered_within_bounds(shared: Connections) -> None:
    """As many as there is room for, and none that are long; all are understood."""
    line, end = b"GET / HTTP/1.1\r\n", b"\r\n\r\n"
    fields = [b"x: %d" % number for number in range(REMEMBERED_FIELDS + 1)]
    fields += [b"x: " + b"a" * size for size in (FIELDS_BYTES - 7, FIELDS_BYTES - 6)]
    understood = [shared.read(line + field + end) for field in fields]

    assert all(understood)
    assert list(shared._fields) == [field + end for field in fields[2:-1]]


def test_an_answer_bears_the_date_of_its_second(shared: Connections) -> None:
    """What is kept of the last second's is not sent again."""
    reply = Reply(204, (), b"")
    dates = [b"Tue, 13 Jan 2026 14:30:00 GMT", b"Tue, 13 Jan 2026 14:30:01 GMT"]
    starts = [shared.parts(reply, NO_FIELDS, b"a", [(b"date", date)])[0] for date in dates]

    assert starts == [b"HTTP/1.1 204 No Content\r\ndate: %b\r\n" % date for date in dates]
