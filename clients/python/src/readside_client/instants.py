"""Instants as whole microseconds since 1970, UTC: parsed, printed, compared."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

EARLIEST_US = -(2**64)
LATEST_US = 2**64
"""Stand for `-infinity` and `infinity`: below and above all that Postgres holds besides."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY_US = 86_400_000_000
_DAYS_TO_1970 = _EPOCH.toordinal()
# What the API prints of the years that ISO 8601 has no four digits for.
_FAR = re.compile(
    r"(\d{4,6})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?:\+00(?::00)?|Z)( BC)?",
    re.ASCII,
)
_ACCEPTED = "an ISO 8601 instant of the years 1 to 9999, such as 2026-01-13T14:30:00Z, or a datetime with an offset"


def microseconds(instant: datetime) -> int:
    """Count microseconds since 1970; raises ValueError for a datetime that does not know its offset."""
    if instant.utcoffset() is None:
        raise ValueError(f"The instant {instant.isoformat()} needs a UTC offset.")
    return (instant - _EPOCH) // _MICROSECOND


FIRST_US = microseconds(datetime.min.replace(tzinfo=UTC))
LAST_US = microseconds(datetime.max.replace(tzinfo=UTC))
"""What `since` and `not_before` can say: the years 1 to 9999."""


def asked_instant(name: str, given: datetime | str) -> int:
    """Read the option of this name, as microseconds; a text without an offset is UTC, as for the API.

    Raises ValueError.
    """
    try:
        at = datetime.fromisoformat(given) if isinstance(given, str) else given
        instant_us = microseconds(at.replace(tzinfo=at.tzinfo or UTC) if isinstance(given, str) else at)
    except ValueError:
        instant_us = LATEST_US
    if not FIRST_US <= instant_us <= LAST_US:
        raise ValueError(f"{name} must be {_ACCEPTED}, not {given!r}.")
    return instant_us


def printed(instant_us: int) -> str:
    """Print as `2026-01-13T14:30:00.123456Z`."""
    instant = _EPOCH + timedelta(microseconds=instant_us)
    return f"{instant.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def instant_of(timestamp: str) -> datetime | None:
    """The datetime of an event's timestamp, in UTC; None for what no datetime holds."""
    try:
        at = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return at if at.utcoffset() is not None else None


def timestamp_us(timestamp: str) -> int:
    """Place an event's timestamp on the line of microseconds, those too that no datetime holds.

    What cannot be read lies above all, where nothing is forgotten.
    """
    at = instant_of(timestamp)
    if at is not None:
        return microseconds(at)
    far = _FAR.fullmatch(timestamp)
    if far is None:
        return EARLIEST_US if timestamp == "-infinity" else LATEST_US
    year, month, day, hour, minute, second = (int(part) for part in far.groups()[:6])
    seconds = (hour * 60 + minute) * 60 + second
    try:
        days = _days(1 - year if far[8] else year, month, day)
    except ValueError:  # there is no such day
        return LATEST_US
    return days * _DAY_US + seconds * 1_000_000 + int((far[7] or "0").ljust(6, "0"))


def _days(year: int, month: int, day: int) -> int:
    """Count days since 1970 in the Gregorian calendar, of any year (0 is 1 BC): it repeats itself every 400 years."""
    cycles, within = divmod(year, 400)
    return datetime(within + 400, month, day, tzinfo=UTC).toordinal() + (cycles - 1) * 146_097 - _DAYS_TO_1970
