"""What may go wrong, as a small tree.

ReadsideError
├── RequestRefused: asking the same again changes nothing; `status`, `detail`
│   ├── BadRequest (400): `errors` names what is wrong, `parameter` the first of it
│   ├── Unauthorized (401)
│   ├── Forbidden (403)
│   ├── SessionNotFound (404)
│   └── OffsetLost (410)
└── Unavailable: ask again later; `status` (None without an answer), `retry_after_seconds` (None when nothing is said)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class ReadsideError(Exception):
    """Root of all errors of this client; its text is a full sentence and names no key."""


class RequestRefused(ReadsideError):
    """The API answered that the request is wrong: mend it."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{detail} (HTTP {status})")
        self.status = status
        self.detail = detail


class WrongParameter(NamedTuple):
    """A parameter that the API does not accept, and the sentence that says why."""

    parameter: str
    detail: str


class BadRequest(RequestRefused):
    """Parameters are wrong; `errors` has all that the API named, `parameter` is the first of them."""

    def __init__(
        self, status: int, detail: str, parameter: str | None = None, errors: Sequence[WrongParameter] = ()
    ) -> None:
        more = [error.detail for error in errors if error.detail not in detail]
        super().__init__(status, detail)
        self.args = (f"{' '.join([detail, *more])} (HTTP {status})",)
        self.parameter = parameter or next((error.parameter for error in errors), None)
        self.errors = tuple(errors)


class Unauthorized(RequestRefused):
    """There is no key or token, or a wrong one, or the token has ended."""


class Forbidden(RequestRefused):
    """The key lacks the scope `read`, or the token does not name the session."""


class SessionNotFound(RequestRefused):
    """There is no such session: never was, or it was purged."""


class OffsetLost(RequestRefused):
    """The stream can't be continued behind this offset: read it again from `-1`, and drop what you have by `id`."""


class Unavailable(ReadsideError):
    """No answer, or one that says: later."""

    def __init__(self, detail: str, status: int | None = None, retry_after_seconds: float | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.retry_after_seconds = retry_after_seconds
