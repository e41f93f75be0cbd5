"""How fresh an answer must be: Readside-Max-Staleness, or the setting, and Readside-Not-Before."""

from __future__ import annotations

import re
from typing import NamedTuple

from readmodel.errors import InvalidParameter
from readmodel.poll_query import parse_instant

HEADER, NOT_BEFORE = "Readside-Max-Staleness", "Readside-Not-Before"
_DECIMAL = re.compile(rb"\d{1,12}(?:\.\d{1,12})?|\.\d{1,12}")


class Staleness(NamedTuple):
    """The greatest lag wanted; `explicit` when the caller said it: then nothing staler is ever given.

    No answer of an earlier as-of than `not_before_us` is, microseconds since 1970.
    """

    seconds: float
    explicit: bool
    not_before_us: int = 0


def parse_staleness(value: bytes) -> Staleness:
    """Parse the header's value; raises InvalidParameter unless it is a non-negative decimal number of seconds."""
    if not _DECIMAL.fullmatch(value):
        shown = ascii(value[:60].decode("latin-1"))
        raise InvalidParameter(
            HEADER, f"{HEADER} must be a number of seconds, zero or more, such as 0 or 2.5, not {shown}."
        )
    return Staleness(float(value), explicit=True)


def parse_not_before(value: bytes) -> int:
    """Parse the header's value to microseconds since 1970; raises InvalidParameter unless it is an instant."""
    return parse_instant(NOT_BEFORE, value.decode("latin-1"))
