"""The code samples of the documents: fenced blocks, and what a comment above one says of how to follow it."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARKS = {"", "alike", "answer", "long", "may fail", "not", "stays", "yours"}
"""What `<!-- follow: yours -->` above a sample may say of it; tests/docs/follow.py tells what each means."""
_FENCE = re.compile(
    r"(?:^[ ]*<!-- follow: (?P<mark>[^>]*?) -->\n+)?"
    r"^(?P<indent>[ ]*)```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A fenced block: its language ("" for none), its text, its mark ("" for none), and the line of its first word."""

    language: str
    text: str
    mark: str
    line: int


def documents() -> list[Path]:
    """Every document that people read, by its path."""
    tops = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
    return [*tops, *sorted((ROOT / "clients").glob("*/README.md")), *sorted((ROOT / "specs").rglob("*.md"))]


def samples(markdown: str) -> list[Sample]:
    """Return a document's samples, in their order. ValueError for a mark that is none."""
    return [_sample(match, markdown) for match in _FENCE.finditer(markdown)]


def _sample(match: re.Match[str], markdown: str) -> Sample:
    indent, mark = match["indent"], match["mark"] or ""
    if mark not in MARKS:
        raise ValueError(
            f"{mark!r} says nothing of how to follow a sample; there are {', '.join(sorted(MARKS - {''}))}."
        )
    text = re.sub(rf"^{indent}", "", match["text"], flags=re.MULTILINE)
    return Sample(match["language"], text, mark, markdown.count("\n", 0, match.start("text")) + 1)
