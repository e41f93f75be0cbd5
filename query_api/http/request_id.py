"""The id of a request: the caller's own or a new one, returned with the answer and on every log line about it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator
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
        self._names = _numbered(secrets.token_hex(6).encode())

    def name(self) -> bytes:
        """Make a new id."""
        return next(self._names)


def _numbered(prefix: bytes) -> Iterator[bytes]:
    """Number on for ever. The last three digits are written beforehand: each poll comes past here."""
    last_digits = [b"%03x" % number for number in range(0x1000)]
    for number in count():
        start = b"%b-%x" % (prefix, number)
        for digits in last_digits:
            yield start + digits


def is_acceptable(given: bytes, keys: Iterable[bytes]) -> bool:
    """Tell whether a caller's own id is taken: it must be one, and hold none of the keys that came with it."""
    return bool(_ACCEPTED.fullmatch(given)) and not any(key in given for key in keys)


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
