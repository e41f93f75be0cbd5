"""How sample sessions live: each draws its kind and its fate, and yields moves. No clock, no database."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

from readside.demo.moves import Json, Move, NewSession, Pause, Record, Savepoint, SetStatus, Transaction


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of session: its steps, what they leave behind, and how fast it goes."""

    session_type: str
    mode: str
    project: str
    steps: tuple[str, ...]
    artifacts: tuple[str, ...]
    pause_seconds: tuple[float, float]
    items_a_step: tuple[int, int] = (1, 4)
    always_completes: bool = False


KINDS = (
    Kind(
        "release_build",
        "automatic",
        "storefront",
        ("check out", "compile", "unit tests", "package", "sign", "publish"),
        ("build.log", "coverage.xml", "storefront-2.14.tar.zst"),
        (0.5, 2.0),
    ),
    Kind(
        "data_import",
        "batch",
        "warehouse",
        ("read manifest", "load customers", "load orders", "check totals"),
        ("customers.parquet", "orders.parquet", "rejects.csv"),
        (3.0, 8.0),
        (40, 160),
    ),
    Kind(
        "schema_migration",
        "supervised",
        "billing",
        ("back up", "dry run", "wait for approval", "migrate", "check"),
        ("plan.sql", "backup.dump", "report.md"),
        (1.5, 5.0),
    ),
    Kind(
        "incident_review",
        "interactive",
        "operations",
        ("collect logs", "build timeline", "find cause", "write report"),
        ("timeline.json", "graph.svg", "réponse à l’incident.md"),
        (2.5, 6.0),
    ),
    Kind(
        "document_index",
        "batch",
        "library",
        ("list documents", "extract text", "index", "swap aliases"),
        ("terms.bin", "postings.bin"),
        (0.1, 0.6),
        (4, 12),
    ),
)

LOG_WATCH = Kind(
    "log_watch",
    "continuous",
    "operations",
    ("read", "parse", "count", "archive") * 300,  # more than an hour, for somebody to look at
    ("lines.log", "rates.json"),
    (0.3, 2.5),
    always_completes=True,
)

ERRORS = ("connection reset by peer", "checksum mismatch in chunk 17", "disk quota exceeded", "timeout after 30 s")


class Workflow:
    """One session's life, drawn from `chance`, its kind too unless it is given; `moves()` may be walked once."""

    def __init__(self, chance: Random, kind: Kind | None = None) -> None:
        self.chance = chance
        self.id = self._uuid()
        self.kind = kind or chance.choice(KINDS)

    def moves(self) -> Iterator[Move]:
        """From the session's row to one of the ends: completed, failed or cancelled."""
        yield self._creation()
        yield self._pause()
        yield self._status("in_progress", "workflow_started", {"steps": len(self.kind.steps)})
        end = self._complete
        if not self.kind.always_completes:
            end = self.chance.choices((self._complete, self._fail, self._cancel), (80, 12, 8))[0]
        last = len(self.kind.steps) if end == self._complete else self.chance.randint(1, len(self.kind.steps) - 1)
        for number, name in enumerate(self.kind.steps[:last], start=1):
            yield from self._step(number, name)
            if self.chance.random() < 0.15:
                yield from self._interruption()
        yield end()

    def _step(self, number: int, name: str) -> Iterator[Move]:
        step = self._uuid()
        yield Transaction((self._event("step_created", {"number": number, "name": name}, step=step),))
        yield Transaction((self._step_status(step, "pending", "running"),))
        yield self._pause()
        yield from self.chance.choices(
            (self._artifacts, self._held_upload, self._retried, self._abandoned), (70, 12, 10, 8)
        )[0](step)
        yield self._pause()
        yield Transaction((self._step_status(step, "running", "done"),))

    def _artifacts(self, step: UUID) -> Iterator[Move]:
        """The ordinary case: a few at a time, or a burst of very many at once."""
        count = self.chance.randint(*self.kind.items_a_step)
        if count > 20:
            yield Transaction(tuple(self._artifact(step) for _ in range(count)), bulk=True)
            return
        for _ in range(count):
            yield Transaction((self._artifact(step),))
            yield Pause(self.chance.uniform(0.02, 0.3))

    def _held_upload(self, step: UUID) -> Iterator[Move]:
        """A long transaction: what it wrote first is seen after what others wrote later."""
        yield Transaction(
            (self._artifact(step), self._artifact(step)), held_seconds=self.chance.uniform(1.0, 6.0), aside=True
        )
        yield from self._artifacts(step)

    def _retried(self, step: UUID) -> Iterator[Move]:
        """A savepoint taken back and tried again within one transaction."""
        failure = self._event("workflow_error", self._error() | {"will_retry": True}, step=step)
        yield Transaction(
            (
                Savepoint((self._artifact(step), self._artifact(step)), kept=False),
                Savepoint((failure,)),
                Savepoint((self._artifact(step),)),
            )
        )

    def _abandoned(self, step: UUID) -> Iterator[Move]:
        """A transaction rolled back as a whole leaves nothing."""
        yield Transaction(tuple(self._artifact(step) for _ in range(3)), commits=False)
        yield from self._artifacts(step)

    def _interruption(self) -> Iterator[Move]:
        yield self._status("paused", "workflow_paused", {"reason": "waiting for approval"})
        yield Pause(self.chance.uniform(2.0, 8.0))
        yield self._status("in_progress", "workflow_resumed", {"approved_by": "operator"})

    def _creation(self) -> Transaction:
        kind = self.kind
        row = NewSession(kind.session_type, kind.mode, f"/srv/projects/{kind.project}", {"writer": "sample"})
        return Transaction((row, self._event("session_created", {"session_type": kind.session_type})))

    def _complete(self) -> Transaction:
        result = {"steps": len(self.kind.steps), "cost": round(self.chance.uniform(0.01, 9.0), 4)}
        return self._status("completed", "workflow_completed", result, SetStatus("completed", result))

    def _fail(self) -> Transaction:
        error = self._error()
        change = SetStatus("failed", error_message=str(error["error"]))
        return self._status("failed", "workflow_failed", error, change)

    def _cancel(self) -> Transaction:
        reason = {"reason": "cancelled by operator"}
        return self._status("cancelled", "workflow_error", reason, SetStatus("cancelled", reason))

    def _status(self, status: str, event_type: str, data: Json, change: SetStatus | None = None) -> Transaction:
        """The row and two events that say the same, the second with the very timestamp of the first."""
        return Transaction(
            (
                change or SetStatus(status),
                self._event("status_changed", {"to": status}),
                self._event(event_type, data, message=f"{self.kind.session_type} {status.replace('_', ' ')}"),
            )
        )

    def _step_status(self, step: UUID, before: str, after: str) -> Record:
        return self._event("step_status_changed", {"from": before, "to": after}, step=step)

    def _artifact(self, step: UUID) -> Record:
        name = self.chance.choice(self.kind.artifacts)
        data = {
            "name": name,
            "bytes": self.chance.randrange(1 << self.chance.randint(8, 62)),
            "sha256": f"{self.chance.getrandbits(256):064x}",
        }
        back = self.chance.choice((0.0, 0.0, 0.0, 0.5, 2.0))  # a worker whose clock is behind
        return self._event("artifact_created", data, step=step, back_seconds=back)

    def _error(self) -> dict[str, Any]:
        return {"error": self.chance.choice(ERRORS), "attempt": self.chance.randint(1, 3)}

    def _event(self, event_type: str, data: Json, *, step: UUID | None = None, **more: Any) -> Record:
        return Record(self._uuid(), event_type, data, step_id=step, **more)

    def _pause(self) -> Pause:
        return Pause(self.chance.uniform(*self.kind.pause_seconds))

    def _uuid(self) -> UUID:
        return UUID(int=self.chance.getrandbits(128), version=4)
