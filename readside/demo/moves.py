"""What a sample session can do, as plain values: transactions, what they change, and pauses between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

Json: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NewSession:
    """The session's row, with status pending."""

    session_type: str
    mode: str
    project_path: str
    config: Json


@dataclass(frozen=True, slots=True)
class SetStatus:
    """A change of the session's row."""

    status: str
    result: Json | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One event. Its timestamp is the application's clock when it is written, less `back_seconds`."""

    id: UUID
    event_type: str
    data: Json
    message: str | None = None
    step_id: UUID | None = None
    back_seconds: float = 0.0


Change: TypeAlias = NewSession | SetStatus | Record


@dataclass(frozen=True, slots=True)
class Savepoint:
    """Changes inside a savepoint of their own, as an ORM makes them; taken back unless `kept`."""

    changes: tuple[Change, ...]
    kept: bool = True


@dataclass(frozen=True, slots=True)
class Transaction:
    """Changes that commit together, or are rolled back together.

    It stays open for `held_seconds` after its changes. `aside`: on a connection of its own, while the session goes on,
    so that its events commit after events with later timestamps. `bulk`: all are events, and written by one COPY.
    """

    changes: tuple[Change | Savepoint, ...]
    held_seconds: float = 0.0
    commits: bool = True
    aside: bool = False
    bulk: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """The session does nothing for a while."""

    seconds: float


Move: TypeAlias = Transaction | Pause
