"""What was measured, as a row each: medians of rounds, a peer beside it, the ratio; as Markdown and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from bench.machine import Machine

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
_HEADINGS = ("measure", "readside", "beside it", "ratio")


class BenchError(Exception):
    """Something could not be measured; the sentence says what and why."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing measured in several rounds; `note` adds to the median, such as percentiles."""

    rounds: Sequence[float]
    unit: str
    note: str = ""

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return median(self.rounds)

    def text(self) -> str:
        """The median with its unit and note."""
        return f"{_number(self.median)} {self.unit}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True, slots=True)
class Row:
    """One line: what was measured, the figure, and what stands beside it, if anything."""

    measure: str
    figure: Figure
    peer: str = ""
    beside: Figure | None = field(default=None)

    @property
    def ratio(self) -> float | None:
        """Our median by the peer's."""
        return self.figure.median / self.beside.median if self.beside else None

    def cells(self) -> tuple[str, str, str, str]:
        """Give the texts of the columns."""
        beside = f"{self.peer}: {self.beside.text()}" if self.beside else self.peer
        return self.measure, self.figure.text(), beside, "" if self.ratio is None else f"{self.ratio:.2f} ×"


def markdown(rows: Sequence[Row], machine: Machine) -> str:
    """Lay rows out as a Markdown table, padded so that it reads well as text too, with its caption below."""
    lines = [_HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    padded.insert(1, ["-" * width for width in widths])
    table = "\n".join(f"| {' | '.join(line)} |" for line in padded)
    return f"{table}\n\n{machine.caption()}\n"


def put_between_markers(text: str, table: str) -> str:
    """Replace what stands between the markers. Raises BenchError when they are not there, once each and in order."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        raise BenchError(f"The README needs the lines {BEGIN} and {END}, once each, around its table.")
    return f"{before}{BEGIN}\n{table}{END}{after}"


def write_json(path: Path, rows: Sequence[Row], machine: Machine) -> None:
    """Keep one measurement's rounds for later comparison."""
    body: dict[str, Any] = {"machine": asdict(machine), "rows": [_as_json(row) for row in rows]}
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def _as_json(row: Row) -> dict[str, Any]:
    return {**asdict(row), "ratio": row.ratio}


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
