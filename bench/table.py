"""What was measured, as a row each: medians of rounds, a peer beside it, the ratio, the target; and as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
_HEADINGS = ("measure", "readside", "beside it", "ratio", "target")


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
        return f"{number(self.median)} {self.unit}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True, slots=True)
class Target:
    """What is wanted: a bound of the ratio, or of the figure itself when it has a unit."""

    bound: float
    at_most: bool = False
    unit: str = "×"

    def text(self) -> str:
        """As it stands in the table."""
        return f"{'≤' if self.at_most else '≥'} {self.bound:g} {self.unit}"

    def met(self, value: float) -> bool:
        """Whether the value keeps the bound."""
        return value <= self.bound if self.at_most else value >= self.bound


@dataclass(frozen=True, slots=True)
class Row:
    """One line: what was measured, the figure, what stands beside it, and what is wanted, if anything."""

    measure: str
    figure: Figure
    peer: str = ""
    beside: Figure | None = field(default=None)
    target: Target | None = field(default=None)

    @property
    def ratio(self) -> float | None:
        """Our median by the peer's."""
        return self.figure.median / self.beside.median if self.beside else None

    def cells(self) -> tuple[str, str, str, str, str]:
        """The texts of the columns."""
        beside = f"{self.peer}: {self.beside.text()}" if self.beside else self.peer
        ratio = "" if self.ratio is None else f"{self.ratio:.2f} ×"
        return self.measure, self.figure.text(), beside, ratio, self._wanted()

    def _wanted(self) -> str:
        if self.target is None:
            return ""
        value = self.ratio if self.target.unit == "×" else self.figure.median
        if value is None:
            return f"{self.target.text()}: not measured"
        return f"{self.target.text()}: {'met' if self.target.met(value) else 'missed'}"


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines to be drawn: by name, points of (x, y)."""

    title: str
    x: str
    y: str
    lines: dict[str, list[tuple[float, float]]]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one measurement found; each chart under the name of its file."""

    rows: list[Row]
    charts: dict[str, Chart] = field(default_factory=dict)


def markdown(rows: Sequence[Row], caption: str) -> str:
    """Lay rows out as a Markdown table, padded so that it reads well as text too, with its caption below."""
    lines = [_HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    padded.insert(1, ["-" * width for width in widths])
    table = "\n".join(f"| {' | '.join(line)} |" for line in padded)
    return f"{table}\n\n{caption}\n"


def put_between_markers(text: str, table: str) -> str:
    """Replace what stands between the markers. Raises BenchError when they are not there, once each and in order."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        raise BenchError(f"The page needs the lines {BEGIN} and {END}, once each, around its table.")
    return f"{before}{BEGIN}\n{table}{END}{after}"


def number(value: float) -> str:
    """Write three digits of a small number, all of a large one."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
