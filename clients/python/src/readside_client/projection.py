"""What the API says of its view: whether a session is in Redis, and how far behind the projection is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar, get_args

from readside_client.protocol import Headers, NotReadside, Request, foreign, refusal

SessionState = Literal["warming", "hot"]
ProjectionStatus = Literal["live", "catching_up", "stale", "down"]

PROJECTION_REQUEST = Request("/api/v2/projection", {})
_STATES, _STATUSES = get_args(SessionState), get_args(ProjectionStatus)
_Told = TypeVar("_Told")


@dataclass(frozen=True, slots=True)
class WarmReply:
    """Whether a session is in Redis (`hot`), or the projector was asked to load it (`warming`)."""

    session_id: str
    state: SessionState


@dataclass(frozen=True, slots=True)
class ProjectionSlice:
    """One slice of the view, where it has several; `node` is the Redis server that holds it."""

    slice: int
    node: str
    status: ProjectionStatus
    reason: str | None
    as_of: datetime | None
    lag_ms: int | None
    hot_sessions: int | None
    term: str | None
    batch: int | None


@dataclass(frozen=True, slots=True)
class ProjectionReport:
    """How far behind the view is. Every event that was committed before `as_of` is in it, `lag_ms` milliseconds ago.

    `reason`: why it is not live, and how to mend it. `writable`: whether Redis takes writes; None where it could not be
    asked. `leader`, `standbys` and `apis` are the processes' own reports, `raw` the whole answer as JSON values.
    """

    status: ProjectionStatus
    reason: str | None
    as_of: datetime | None
    lag_ms: int | None
    hot_sessions: int | None
    term: str | None
    batch: int | None
    database: str | None
    writable: bool | None
    leader: Mapping[str, Any] | None
    standbys: tuple[Mapping[str, Any], ...]
    apis: tuple[Mapping[str, Any], ...]
    slices: tuple[ProjectionSlice, ...]
    raw: Mapping[str, Any]

    @property
    def is_live(self) -> bool:
        """Whether what is read is as of a moment ago."""
        return self.status == "live"


def warm_reply_of(status: int, headers: Headers, body: bytes) -> WarmReply:
    """Read the answer to a `warm`; raises RequestRefused where asking again changes nothing, else Unavailable."""
    return _told(
        status, headers, body, lambda told: WarmReply(_text(told["session_id"]), _one_of(_STATES, told["state"]))
    )


def projection_report_of(status: int, headers: Headers, body: bytes) -> ProjectionReport:
    """Read how the projection is; raises RequestRefused where asking again changes nothing, else Unavailable."""
    return _told(status, headers, body, _projection)


def _told(status: int, headers: Headers, body: bytes, build: Callable[[dict[str, Any]], _Told]) -> _Told:
    if status not in {200, 202}:
        raise refusal(status, headers, body)
    try:
        return build(_object(json.loads(body)))
    except (NotReadside, KeyError, ValueError, RecursionError) as error:
        raise foreign(error, status) from error


def _projection(told: dict[str, Any]) -> ProjectionReport:
    return ProjectionReport(
        **_standing(told),
        database=_optional(_text, told["database"]),
        writable=_optional(_flag, told["writable"]),
        leader=_optional(_object, told["leader"]),
        standbys=tuple(map(_object, _list(told["standbys"]))),
        apis=tuple(map(_object, _list(told["apis"]))),
        slices=tuple(map(_slice, _list(told["slices"]))),
        raw=told,
    )


def _slice(told: object) -> ProjectionSlice:
    each = _object(told)
    return ProjectionSlice(slice=_count(each["slice"]), node=_text(each["node"]), **_standing(each))


def _standing(told: dict[str, Any]) -> dict[str, Any]:
    """Read what the view and a slice of it have in common."""
    return {
        "status": _one_of(_STATUSES, told["status"]),
        "reason": _optional(_text, told["reason"]),
        "as_of": _optional(_instant, told["as_of"]),
        "lag_ms": _optional(_count, told["lag_ms"]),
        "hot_sessions": _optional(_count, told["hot_sessions"]),
        "term": _optional(_text, told["term"]),
        "batch": _optional(_count, told["batch"]),
    }


def _optional(read: Callable[[object], _Told], value: object) -> _Told | None:
    return None if value is None else read(value)


def _one_of(names: tuple[_Told, ...], value: object) -> _Told:
    for name in names:
        if name == value:
            return name
    raise NotReadside(f"{value!r} is none of {names}")


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise NotReadside(f"{type(value).__name__} stands where an object belongs")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise NotReadside(f"{type(value).__name__} stands where a list belongs")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise NotReadside(f"{type(value).__name__} stands where text belongs")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise NotReadside(f"{type(value).__name__} stands where true or false belongs")
    return value


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise NotReadside(f"{type(value).__name__} stands where a number belongs")
    return value


def _instant(value: object) -> datetime:
    return datetime.fromisoformat(_text(value))
