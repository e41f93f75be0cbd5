"""`Prefer: wait`: what is understood of it, and what is not read."""

import pytest

from query_api.http.prefer import MAX_BYTES, preferred_wait


@pytest.mark.parametrize(
    ("value", "seconds", "applied"),
    [
        (b"wait=20", 20, b"wait=20"),
        (b"respond-async, wait=10", 10, b"wait=10"),
        (b'Wait = "7"; x=y, wait=3', 7, b"wait=7"),
        (b'foo="a,b;c", wait=2.5', 2.5, b"wait=2.5"),
        (b",,wait=0", 0, b"wait=0"),
        (b"wait=999999999", 60, b"wait=60"),
    ],
)
def test_the_first_wait_counts(value: bytes, seconds: float, applied: bytes) -> None:
    """Quoted or not, whatever stands beside it; at most a minute."""
    understood = preferred_wait(value)

    assert understood is not None
    assert (understood[0], understood[1].pairs) == (seconds, [(b"preference-applied", applied)])


@pytest.mark.parametrize(
    "value", [b"", b"wait", b"wait=", b"wait=-1", b"wait=soon", b"wait=1e1", b"waiting=3", b"x wait=3", b"wait=1\xb2"]
)
def test_what_is_not_understood_is_ignored(value: bytes) -> None:
    """A preference can't be wrong."""
    assert preferred_wait(value) is None


@pytest.mark.parametrize("value", [b"a" + b" ;" * 127, b'"' * 255, b'"",' * 80, b"; " * 128, b"wait=1" + b" " * 251])
def test_hostile_values_are_read_once_from_end_to_end_or_not_at_all(value: bytes) -> None:
    """Twisted ones up to the bound, and one that is longer."""
    assert preferred_wait(value) is None
    assert preferred_wait(b"wait=1" + b" " * (MAX_BYTES - 6)) is not None
