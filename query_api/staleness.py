"""How stale an answer may be: the request header Readside-Max-Staleness, or the setting."""

from __future__ import annotations

import re
from typing import NamedTuple

from readmodel.errors import InvalidParameter

HEADER = "Readside-Max-Staleness"
_DECIMAL = re.compile(rb"\d{1,12}(?:\.\d{1,12})?|\.\d{1,12}")


class Staleness(NamedTuple):
    """The greatest lag wanted; `explicit` when the caller said it: then nothing staler is ever given."""

    seconds: float
    explicit: bool


def parse_staleness(value: bytes) -> Staleness:
    """Parse the header's value; raises InvalidParameter unless it is a non-negative decimal number of seconds."""
    if not _DECIMAL.fullmatch(value):
        shown = ascii(value[:60].decode("latin-1"))
        raise InvalidParameter(
            HEADER, f"{HEADER} must be a number of seconds, zero or more, such as 0 or 2.5, not {shown}."
        )
    return Staleness(float(value), explicit=True)
