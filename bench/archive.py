"""The archive of measurements in bench/results: JSON with every round, charts, and one table of all of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson

from bench import svg
from bench.machine import BUSY_SHARE, Machine
from bench.table import Chart, Figure, Measurement, Row, Target, markdown

RESULTS = Path(__file__).parent / "results"
THROUGHPUT = "throughput.svg"
PAGE_CHARTS = {
    THROUGHPUT: "Polls a second, beside the peers",
    "held-polls.svg": "Commit to seen: polls that are held, beside polls every second",
}


@dataclass(frozen=True, slots=True)
class MeasurementRecord:
    """One measurement as it was kept."""

    name: str
    machine: Machine
    measurement: Measurement


def keep(kept: MeasurementRecord, directory: Path = RESULTS) -> None:
    """Write one measurement's rounds, and draw its charts."""
    directory.mkdir(exist_ok=True)
    rows = [{**asdict(row), "ratio": row.ratio} for row in kept.measurement.rows]
    charts = {name: asdict(chart) for name, chart in kept.measurement.charts.items()}
    body = {"machine": asdict(kept.machine), "rows": rows, "charts": charts}
    (directory / f"{kept.name}.json").write_bytes(
        orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
    draw([kept], directory)


def draw(found: Sequence[MeasurementRecord], directory: Path = RESULTS) -> None:
    """Draw the charts of measurements."""
    for one in found:
        for name, chart in one.measurement.charts.items():
            (directory / f"{name}.svg").write_text(svg.lines(chart), encoding="utf-8")


def kept(names: Sequence[str], directory: Path = RESULTS) -> list[MeasurementRecord]:
    """Read the measurements of these names that are there, in their order."""
    return [_read(name, path) for name in names if (path := directory / f"{name}.json").exists()]


def summary(found: Sequence[MeasurementRecord]) -> str:
    """All rows as one table, with the machine and the date below."""
    return markdown([row for one in found for row in one.measurement.rows], caption(found))


def write_summary(found: Sequence[MeasurementRecord], directory: Path = RESULTS) -> None:
    """Write the table of everything, the charts beneath it, and the bars of polls a second."""
    charts = [THROUGHPUT, *(f"{name}.svg" for one in found for name in one.measurement.charts)]
    images = "\n\n".join(f"![{name.removesuffix('.svg')}]({name})" for name in charts)
    text = f"# Results\n\nWritten by `make bench`; each round is in the JSON files.\n\n{summary(found)}\n{images}\n"
    (directory / "README.md").write_text(text, encoding="utf-8")
    groups = _throughput(found)
    (directory / THROUGHPUT).write_text(svg.bars("Polls a second", "/s", groups), encoding="utf-8")


def page_charts(directory: Path = RESULTS) -> str:
    """The images of those charts of the page that were drawn, as Markdown."""
    images = [
        f"![{what}](../bench/results/{name})" for name, what in PAGE_CHARTS.items() if (directory / name).exists()
    ]
    return "\n\n".join(images)


def caption(found: Sequence[MeasurementRecord]) -> str:
    """Say on which machine and when, and how busy it was; more than once when measurements differ in that."""
    captions: dict[str, list[str]] = {}
    for one in found:
        captions.setdefault(one.machine.caption(), []).append(one.name)
    if len(captions) == 1:
        text = next(iter(captions))
    else:
        text = " ".join(f"{', '.join(names)}: {words}" for words, names in captions.items())
    busy = [(one.name, one.machine.busy_share) for one in found if (one.machine.busy_share or 0) > BUSY_SHARE]
    if busy:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in busy)
        text += f" The machine was busy: of its cores, other work took just before or after {shares}."
    return text


def _throughput(found: Sequence[MeasurementRecord]) -> list[svg.Group]:
    """The rows of polls a second, by what was measured: ours first, then the peers that were there."""
    rows = [row for one in found for row in one.measurement.rows if row.figure.unit == "polls/s"]
    groups: list[svg.Group] = []
    for measure, same in groupby(rows, key=lambda row: row.measure):
        of_one = list(same)
        peers = [(row.peer, row.beside.median) for row in of_one if row.beside]
        groups.append((measure, [("readside", of_one[0].figure.median), *peers]))
    return groups


def _read(name: str, path: Path) -> MeasurementRecord:
    body = orjson.loads(path.read_bytes())
    charts = {key: _chart(raw) for key, raw in body["charts"].items()}
    return MeasurementRecord(name, Machine(**body["machine"]), Measurement([_row(raw) for raw in body["rows"]], charts))


def _row(raw: dict[str, Any]) -> Row:
    beside, target = raw["beside"], raw["target"]
    return Row(
        raw["measure"],
        Figure(**raw["figure"]),
        raw["peer"],
        Figure(**beside) if beside else None,
        Target(**target) if target else None,
    )


def _chart(raw: dict[str, Any]) -> Chart:
    lines = {name: [(x, y) for x, y in points] for name, points in raw.pop("lines").items()}
    return Chart(lines=lines, **raw)
