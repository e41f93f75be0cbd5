"""What the processes say to one another through Redis: changes, requests, and replies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

import orjson

from readmodel.values.wal import MARK, WalPosition, parse_wal

EVERY_SESSION = "*"

Verb = Literal["warm", "rebuild", "repair", "touch"]
State = Literal["accepted", "progress", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Change:
    """The message of one batch: the number the view has now, the sessions named, and as-of if it moved.

    `sessions` may hold the one entry `*`: every session. Instants and durations are microseconds; `at_us` is when the
    batch was applied, by Redis' clock; `database` the identity of the one whose view this is. `wal` is how far that
    database's log had come for this as-of: it comes as one more entry behind the sessions.
    """

    term: str
    n: int
    as_of_us: int | None
    round_trip_us: int | None
    sessions: tuple[str, ...]
    at_us: int = 0
    database: str = ""
    wal: WalPosition | None = None


@dataclass(frozen=True, slots=True)
class ProjectorRequest:
    """What the leading projector is asked; `reply` says whether somebody waits on the channel of its id."""

    verb: Verb
    sessions: tuple[str, ...] = ()
    everything: bool = False
    reply: bool = False
    id: str = field(default_factory=lambda: uuid4().hex)


@dataclass(frozen=True, slots=True)
class ProjectorReply:
    """How far a request is; `sessions` maps each finished one to its outcome: hot, missing, set_aside or failed."""

    id: str
    state: State
    done: int = 0
    total: int = 0
    sessions: dict[str, str] = field(default_factory=dict)
    detail: str = ""


def decode_change(data: bytes) -> Change | None:
    """Read a message of the changes channel; None when it is none of ours (anybody can publish there)."""
    fields = data.decode("ascii", "replace").split(" ")
    if len(fields) < 6:
        return None
    database, term, n, as_of, round_trip, at, *sessions = fields
    try:
        wal = parse_wal(sessions.pop().removeprefix(MARK)) if sessions and sessions[-1].startswith(MARK) else None
        named = tuple(filter(None, sessions))
        return Change(term, int(n), _number(as_of), _number(round_trip), named, int(at), database, wal)
    except ValueError:
        return None


def encode_request(request: ProjectorRequest) -> bytes:
    """Write a request as JSON."""
    return orjson.dumps(request)


def decode_request(data: bytes) -> ProjectorRequest | None:
    """Read a request; None when it is malformed."""
    try:
        raw = orjson.loads(data)
        if raw["verb"] not in {"warm", "rebuild", "repair", "touch"}:
            return None
        sessions = tuple(session for session in raw["sessions"] if isinstance(session, str))
        return ProjectorRequest(raw["verb"], sessions, bool(raw["everything"]), bool(raw["reply"]), str(raw["id"]))
    except (ValueError, KeyError, TypeError):
        return None


def encode_reply(reply: ProjectorReply) -> bytes:
    """Write a reply as JSON."""
    return orjson.dumps(reply)


def decode_reply(data: bytes) -> ProjectorReply:
    """Read a reply (only the leader publishes on a channel named by a random id)."""
    return ProjectorReply(**orjson.loads(data))


def _number(text: str) -> int | None:
    return None if text == "-" else int(text)
