"""The id of a request: the caller's own or a new one, returned with the answer and on every log line about it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from itertools import count

from structlog.typing import EventDict, WrappedLogger

HEADER = b"x-request-id"
_ACCEPTED = re.compile(rb"[0-9A-Za-z._~:/+=@-]{1,128}")
"""What other programs make ids of, UUIDs, ULIDs and trace ids among them; nothing that could break a log line."""

_current: ContextVar[bytes] = ContextVar("request_id", default=b"")


class RequestIds:
    """Names requests. A number behind what is random for the process: a UUID would cost ten times as much."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6).encode()
        self._numbers = count(1)

    def name(self) -> bytes:
        """Make a new id."""
        return b"%b-%x" % (self._prefix, next(self._numbers))

    def accept(self, given: bytes, key: bytes | None, bearer: bytes | None) -> bytes:
        """Take the caller's own id, or make one where it is no id, or holds the key that came with it."""
        if not _ACCEPTED.fullmatch(given) or (key and key in given) or (bearer and bearer in given):
            return self.name()
        return given


def about(name: bytes) -> None:
    """Remember an id as the one of the present context; whatever may log a line about the request does it first."""
    _current.set(name)


@contextmanager
def naming(name: bytes) -> Iterator[None]:
    """Remember an id as the one of the present context for as long as the block lasts."""
    token = _current.set(name)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> str:
    """Give the present request's id; "" outside of requests."""
    return _current.get().decode("ascii")


def add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put the present request's id on a log line (a processor of structlog's)."""
    name = current()
    if name:
        event["request_id"] = name
    return event


def nobodys() -> Context:
    """Give a context of no request, for work that several share: its log lines are about none of them."""
    return Context()
