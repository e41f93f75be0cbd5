"""What a caller sent, fit for a sentence."""

from __future__ import annotations

MOST = 60
"""Characters that are shown."""


def shown(text: str) -> str:
    """Quote a text in ASCII, shortened."""
    return ascii(text if len(text) <= MOST else text[:MOST] + "…").replace("\\u2026", "…")
