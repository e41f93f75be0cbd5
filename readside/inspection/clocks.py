"""How far a server's clock is from ours."""

from __future__ import annotations

from readside.inspection.findings import Finding, fine, warning

TOLERATED_SECONDS = 1.0
"""Who compares an as-of with a clock of their own is told wrong by as much. Nothing of ours relies on it."""


def judge_clock(check: str, theirs: float, before: float, after: float) -> Finding:
    """Judge a server's clock, read between two looks at ours; all in seconds since 1970."""
    off = max(before - theirs, theirs - after, 0.0)
    if off > TOLERATED_SECONDS:
        direction = "behind" if theirs < before else "ahead of"
        return warning(
            check,
            f"The server's clock is {off:.1f} s {direction} ours, and as-of is told by it.",
            "Have both machines keep the time (NTP).",
        )
    return fine(check, f"within {max(off, after - before):.3f} s of ours")
