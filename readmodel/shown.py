"""What a caller sent, or a server said, fit for a sentence."""

from __future__ import annotations

from unicodedata import category

MOST = 60
"""Characters that are shown."""


def shown(text: str) -> str:
    """Quote a text in ASCII, shortened."""
    return ascii(cut(text)).replace("\\u2026", "…")


def cut(text: str) -> str:
    """Shorten a text to what is shown of it."""
    return text if len(text) <= MOST else text[:MOST] + "…"


def printable(text: str) -> str:
    """A text in one line that moves no cursor and turns no direction; the rest of it is escaped."""
    return text if text.isprintable() else "".join(map(_one_printable, text))


def escapes(text: str) -> str:
    r"""Write each character as JSON would escape it: `\u00e9`, and two of these past U+FFFF."""
    units = text.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _one_printable(character: str) -> str:
    return character if character.isprintable() or category(character) == "Zs" else escapes(character)
