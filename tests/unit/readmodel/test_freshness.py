"""Instants: whole microseconds inside, RFC 3339 outside."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from readmodel.values.freshness import microseconds, rfc3339
from readmodel.values.poll_query import parse_since

AWARE = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


def test_always_six_decimals_and_z() -> None:
    """As every timestamp of an answer is written."""
    assert rfc3339(0) == "1970-01-01T00:00:00.000000Z"
    assert rfc3339(1_768_314_600_123_456) == "2026-01-13T14:30:00.123456Z"
    assert rfc3339(-1) == "1969-12-31T23:59:59.999999Z"


@given(instant=AWARE)
def test_nothing_is_lost_on_the_way(instant: datetime) -> None:
    """Printed and parsed again, an instant is the same to the microsecond, as a float would not be."""
    instant_us = microseconds(instant)

    assert parse_since(rfc3339(instant_us)) == instant_us
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant_us) == instant


def test_years_before_1000_keep_four_digits() -> None:
    """Else `since` could not be given what an answer showed."""
    assert rfc3339(microseconds(datetime(1, 2, 3, tzinfo=UTC))) == "0001-02-03T00:00:00.000000Z"
