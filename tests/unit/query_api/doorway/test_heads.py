"""Which requests are polls by their first line, in the doorway as in the layer behind it."""

from typing import cast

import pytest

from query_api.doorway.front import Front, question_at, question_of
from query_api.doorway.heads import poll_pattern
from query_api.http.cors import Cors
from query_api.polls.events import Events, events_path
from query_api.streams.stream import Stream

SESSION_ID = "11111111-aaaa-4aaa-8aaa-000000000001"
POLL = events_path(SESSION_ID)


@pytest.mark.parametrize("prefix", ["", "/under", "/api", "/api/v2", "/api/v2/sessions", POLL.removesuffix("/events")])
@pytest.mark.parametrize("before", ["", "/under", "/api"])
@pytest.mark.parametrize("kind", ["events", "stream"])
def test_a_poll_is_a_poll_for_the_layer_too(prefix: str, before: str, kind: str) -> None:
    """A prefix that our own paths begin with is cut off by both of them, or by none."""
    path = before + POLL.replace("events", kind)
    front = Front(cast("Events", None), cast("Stream", None), Cors(()), prefix)

    found = poll_pattern(prefix).match(b"GET %b HTTP/1.1\r\n" % path.encode())

    asked = question_at(front.below_the_prefix(path))
    assert (found and (question_of(found[3]), found[2].decode())) == asked
