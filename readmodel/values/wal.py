"""Where in PostgreSQL's log a beat was read: a hot standby that has passed it holds all that the beat proves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

MARK = "@"
"""Stands before a position in a message's list of sessions: whoever does not know it takes it for a session that nobody
asks for."""
_POSITION = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,16})", re.ASCII)


class WalPosition(NamedTuple):
    """A timeline's number, and a place in its log, in bytes from the beginning."""

    timeline: int
    lsn: int


class Proof(NamedTuple):
    """A beat as an API process heard it: whoever has passed `wal` holds all that was committed before `as_of_us`.

    `as_of_us` is microseconds since 1970 by Postgres' clock, `since` the monotonic second when it was at most now.
    `term` and `n` number the message that brought it, `database` is the identity of the one whose beat it is.
    """

    wal: WalPosition
    as_of_us: int
    since: float
    term: str
    n: int
    database: str


def parse_wal(text: str) -> WalPosition | None:
    """Read a position as `timeline/lsn`, both in hex digits; None where it is none."""
    match = _POSITION.fullmatch(text)
    return WalPosition(int(match[1], 16), int(match[2], 16)) if match else None


def latest_passed(proofs: Sequence[Proof], replayed: int) -> Proof | None:
    """The latest beat that a server which has replayed so many bytes has passed."""
    return next((proof for proof in reversed(proofs) if proof.wal.lsn <= replayed), None)
