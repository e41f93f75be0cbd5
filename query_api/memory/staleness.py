"""How fresh an answer must be: Readside-Max-Staleness, or the setting, and Readside-Not-Before."""

from __future__ import annotations

import re
import time
from typing import NamedTuple, NoReturn

from query_api.http.request_fields import RequestFields
from query_api.memory.answers import AsOf
from readmodel.errors import InvalidParameter, Overload
from readmodel.values.poll_query import parse_instant

HEADER, NOT_BEFORE = "Readside-Max-Staleness", "Readside-Not-Before"
AHEAD_SECONDS = 1.0
"""Clocks and lags are known so well: an instant that lies further ahead of now was never given as an as-of."""
STALENESS_FIELD, NOT_BEFORE_FIELD = HEADER.lower().encode(), NOT_BEFORE.lower().encode()
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


def wishes(fields: RequestFields, usual: Staleness) -> tuple[Staleness, list[InvalidParameter]]:
    """How fresh an answer a request wants, where it says nothing `usual`; and what is wrong with what it says."""
    stated, not_before = fields.get(STALENESS_FIELD), fields.get(NOT_BEFORE_FIELD)
    wanted, wrong = usual, []
    if stated is not None:
        try:
            wanted = parse_staleness(stated)
        except InvalidParameter as error:
            wrong.append(error)
    if not_before is not None:
        try:
            wanted = wanted._replace(not_before_us=parse_not_before(not_before))
        except InvalidParameter as error:
            wrong.append(error)
    return wanted, wrong


def seconds_ahead(instant_us: int, as_of_us: int, lag_seconds: float) -> float:
    """Tell how far an instant lies ahead of now, by an as-of that is so old; raises InvalidParameter if too far."""
    ahead = (instant_us - as_of_us) / 1_000_000 - lag_seconds
    if ahead > AHEAD_SECONDS:
        raise InvalidParameter(NOT_BEFORE, f"{NOT_BEFORE} lies in the future: send back a Readside-As-Of as it came.")
    return ahead


def refuse_early(instant_us: int, freshness: AsOf, *, is_judged: bool) -> NoReturn:
    """Refuse what the primary itself dates earlier than is wished for; raises InvalidParameter or Overload.

    `is_judged`: a beat has told already that the instant does not lie in the future.
    """
    if not is_judged:
        seconds_ahead(instant_us, freshness.as_of_us, freshness.lag_seconds(time.monotonic()))
    raise Overload(f"No store has come as far as {NOT_BEFORE} says; try again in a second.")
