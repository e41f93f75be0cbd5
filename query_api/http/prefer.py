"""Prefer: wait=N, as RFC 7240 says: how long an answer may be held, where the URL does not say it."""

from __future__ import annotations

import re
from functools import lru_cache

from query_api.http.reply import HeaderFields
from readmodel.values.poll_query import MAX_WAIT_SECONDS

FIELD = b"prefer"
MAX_BYTES = 256
"""A longer value is not read. So what is remembered is bounded."""
REMEMBERED = 256
_BLANKS = b" \t"

_PREFERENCE = re.compile(rb'(?:[^,"]|"[^"]*")+')
_SECONDS = re.compile(rb'"?(\d{1,9}(?:\.\d{1,9})?)"?')


def preferred_wait(value: bytes) -> tuple[float, HeaderFields] | None:
    """The seconds of the first `wait`, 60 at most, and the field that says so; None where none is understood.

    A preference may be ignored, so nothing in it is wrong: what is not understood is passed over.
    """
    return _preferred_wait(value) if len(value) <= MAX_BYTES else None


@lru_cache(maxsize=REMEMBERED)
def _preferred_wait(value: bytes) -> tuple[float, HeaderFields] | None:
    for preference in _PREFERENCE.findall(value):
        name, _, stated = preference.partition(b";")[0].partition(b"=")
        if name.strip(_BLANKS).lower() == b"wait":
            number = _SECONDS.fullmatch(stated.strip(_BLANKS))
            if number is None:
                return None
            seconds = min(float(number[1]), float(MAX_WAIT_SECONDS))
            return seconds, HeaderFields([(b"preference-applied", b"wait=" + f"{seconds:.9g}".encode())])
    return None
