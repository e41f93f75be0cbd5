"""What the benchmark keeps: files from which table and charts can be made again."""

from pathlib import Path
from xml.etree import ElementTree as ET

from bench.archive import THROUGHPUT, MeasurementRecord, caption, keep, kept, page_charts, summary, write_summary
from bench.machine import Machine
from bench.table import Chart, Figure, Measurement, Row, Target


def machine(busy_share: float | None = 0.0, date: str = "2026-01-13") -> Machine:
    """Build a machine."""
    return Machine("box", "CPU", 2, "Linux 6", "3.11.7", "18.4", "7.0.15", "load by wrk", busy_share, f"{date}T14:30")


def measured() -> Measurement:
    """Build two rows of one measure and a chart."""
    ours = Figure([90.0, 100.0], "polls/s")
    rows = [
        Row("empty poll", ours, "bare", Figure([200.0], "polls/s"), Target(0.8)),
        Row("empty poll", ours, "nginx: not installed"),
    ]
    return Measurement(
        rows, {"latency": Chart("latency & more", "x", "ms", {"a": [(1.0, 2.0), (10.0, 3.0)]}, log_x=True)}
    )


def test_what_was_kept_is_read_again(tmp_path: Path) -> None:
    """Whole, so that a table can be made without measuring."""
    found = MeasurementRecord("empty-poll", machine(), measured())

    keep(found, tmp_path)

    assert kept(["page", "empty-poll"], tmp_path) == [found]


def test_charts_are_drawn(tmp_path: Path) -> None:
    """As well-formed SVG, whatever their titles hold; bars only for what was measured."""
    keep(MeasurementRecord("empty-poll", machine(), measured()), tmp_path)
    write_summary(kept(["empty-poll"], tmp_path), tmp_path)

    charts = [ET.parse(tmp_path / name).getroot() for name in ("latency.svg", THROUGHPUT)]
    lines, bars = (
        " ".join(text.text or "" for text in chart.iter("{http://www.w3.org/2000/svg}text")) for chart in charts
    )

    assert lines.startswith("latency & more 0 0.5 1 1.5 2")
    assert bars == "Polls a second empty poll readside 95 /s bare 200 /s"


def test_the_summary_shows_every_chart(tmp_path: Path) -> None:
    """Table first."""
    write_summary([MeasurementRecord("empty-poll", machine(), measured())], tmp_path)

    text = (tmp_path / "README.md").read_text()

    assert "bare: 200 polls/s    | 0.47 × | ≥ 0.8 ×: missed |" in text
    assert "nginx: not installed |        |                 |" in text
    assert text.endswith("![throughput](throughput.svg)\n\n![latency](latency.svg)\n")


def test_the_page_shows_the_charts_that_were_drawn(tmp_path: Path) -> None:
    """Those of polls a second, and of held polls once they were measured."""
    write_summary([], tmp_path)
    alone = page_charts(tmp_path)
    (tmp_path / "held-polls.svg").touch()

    assert alone == "![Polls a second, beside the peers](../bench/results/throughput.svg)"
    assert page_charts(tmp_path).splitlines()[-1].endswith("(../bench/results/held-polls.svg)")


def test_the_caption_names_the_machine_once() -> None:
    """Figures without their machine say nothing."""
    found = [MeasurementRecord(name, machine(), measured()) for name in ("empty-poll", "page")]

    assert summary(found).count("Measured on 2026-01-13 on box (2 cores, CPU, Linux 6): Python 3.11.7") == 1
    assert "busy" not in caption(found)


def test_the_caption_tells_measurements_of_different_days_apart() -> None:
    """One that was made again later is named."""
    found = [
        MeasurementRecord("page", machine(), measured()),
        MeasurementRecord("cold", machine(date="2026-02-01"), measured()),
    ]

    assert "page: Measured on 2026-01-13" in caption(found)
    assert "cold: Measured on 2026-02-01" in caption(found)


def test_the_caption_says_that_the_machine_was_busy() -> None:
    """Figures from a busy machine say so."""
    found = [MeasurementRecord("page", machine(0.4), measured()), MeasurementRecord("cold", machine(0.1), measured())]

    assert caption(found).endswith("The machine was busy: of its cores, other work took just before or after page 40%.")
