"""What changed about a projection: its status, terms, starts of processes and errors, as each API process saw it.

A projector's own list of errors is gone with its Redis. This one outlives both, for as long as the API process lives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from readmodel.view.projection import Projection, Status

KEPT = 100
TEXT_LENGTH, TIME_LENGTH = 500, 40

Kind = Literal["status", "term", "started", "error"]


@dataclass(frozen=True, slots=True)
class ProjectionChange:
    """One change: `at` is RFC 3339, `text` a full sentence."""

    at: str
    kind: Kind
    text: str


class ProjectionChanges:
    """Keeps the newest changes, each once, however many looks show it."""

    def __init__(self) -> None:
        self.kept: list[ProjectionChange] = []
        self._terms: Mapping[int, str] = {}
        self._status: Status | None = None

    def note(self, at: str, projection: Projection) -> None:
        """Compare a look at `at` with those before it."""
        found = [
            *_starts(projection),
            *_errors(projection),
            *self._begun(at, projection),
            *self._turned(at, projection),
        ]
        # By their own times: what was let go for its age does not come back with the next look. What is said to happen
        # in the future waits until then: else a clock that is ahead would push out all that did happen.
        past = {one for one in found if one.at <= at}
        self.kept = sorted({*self.kept, *past}, key=lambda one: (one.at, one.kind, one.text))[-KEPT:]

    def _begun(self, at: str, projection: Projection) -> Iterator[ProjectionChange]:
        """The terms that began since the look before; of what is seen first nobody knows when it did."""
        terms = _terms(projection)
        before = self._terms
        self._terms = {**before, **terms}
        changed = [index for index, term in terms.items() if before.get(index, term) != term]
        if len(changed) == 1 and not projection.slices:
            yield ProjectionChange(at, "term", f"Term {terms[changed[0]][:8]} began.")
        elif changed:
            named = ", ".join(map(str, changed[:8])) + (", …" if len(changed) > 8 else "")
            yield ProjectionChange(at, "term", f"New terms began in slices {named}.")

    def _turned(self, at: str, projection: Projection) -> Iterator[ProjectionChange]:
        """Tell a status that is another than at the look before."""
        before, self._status = self._status, projection.status
        if before in (None, projection.status):
            return
        if projection.status == "live":
            yield ProjectionChange(at, "status", "The view is live again.")
        else:
            status = projection.status.replace("_", " ")
            yield ProjectionChange(at, "status", f"The view is {status}: {_cut(projection.reason)}")


def _terms(projection: Projection) -> dict[int, str]:
    """The term of each slice; a view that is one has the number 0."""
    if projection.slices:
        return {one.slice: one.term for one in projection.slices if one.term}
    return {0: projection.term} if projection.term else {}


def _starts(projection: Projection) -> Iterator[ProjectionChange]:
    projectors = [report for report in (projection.leader, *projection.standbys) if report]
    for what, reports in (("Projector", projectors), ("API process", projection.apis)):
        for report in reports:
            at = report.get("started_at")
            if isinstance(at, str):
                text = f"{what} {_cut(report.get('pid'))} started on {_cut(report.get('host'))}."
                yield ProjectionChange(at[:TIME_LENGTH], "started", text)


def _errors(projection: Projection) -> Iterator[ProjectionChange]:
    for report in (projection.leader, *projection.standbys):
        errors = (report or {}).get("errors")
        for error in errors if isinstance(errors, list) else ():
            if isinstance(error, dict) and isinstance(error.get("at"), str):
                yield ProjectionChange(error["at"][:TIME_LENGTH], "error", _cut(error.get("text")))


def _cut(text: Any) -> str:
    return str(text)[:TEXT_LENGTH]
