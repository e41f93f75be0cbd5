"""What `readside doctor` finds: one line for each thing it looked at, and what they come to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem", "unknown"]
"""`warning`: it works, and is not as it should be. `unknown`: it could not be looked at."""

WELL, NOT_WELL, NOT_LOOKED_AT = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was seen, and what to do where that is not ok."""

    check: str
    state: State
    detail: str
    do: str | None = None

    @property
    def text(self) -> str:
        """Both in one line."""
        return self.detail if self.do is None else f"{self.detail} {self.do}"


def fine(check: str, detail: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", detail)


def warning(check: str, detail: str, do: str) -> Finding:
    """It works, and should be mended."""
    return Finding(check, "warning", detail, do)


def problem(check: str, detail: str, do: str | None = None) -> Finding:
    """It does not work; `do` is None where the detail says what to do."""
    return Finding(check, "problem", detail, do)


def unknown(check: str, why: str) -> Finding:
    """It was not looked at."""
    return Finding(check, "unknown", f"Not checked: {why}.")


def exit_code(findings: Iterable[Finding]) -> int:
    """0 only if all is well; 2 where something could not be looked at, else 1."""
    states = {finding.state for finding in findings}
    if "unknown" in states:
        return NOT_LOOKED_AT
    return WELL if states <= {"ok"} else NOT_WELL
