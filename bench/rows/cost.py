"""What a poll costs as something grows: microseconds by throughput, the largest beside the smallest."""

from collections.abc import Mapping, Sequence

from bench.contest import Contestant
from bench.table import Chart, Figure, Row, Target

FLAT = Target(1.15, at_most=True)


def rows_of_growth(what: str, unit: str, by_size: Mapping[str, Mapping[int, Contestant]]) -> tuple[list[Row], Chart]:
    """A row for each kind of poll, and the chart of all; `by_size` maps its name to a contestant for each size."""
    rows = []
    for kind, sizes in by_size.items():
        smallest, largest = min(sizes), max(sizes)
        figure, beside = _cost(sizes[largest]), _cost(sizes[smallest])
        rows.append(Row(f"cost of a poll, {kind}, {largest:,} {unit}", figure, f"{smallest:,} {unit}", beside, FLAT))
    lines = {kind: [(float(size), _cost(one).median) for size, one in sizes.items()] for kind, sizes in by_size.items()}
    return rows, Chart(what, unit, "µs a poll", lines, log_x=True)


def all_of(by_size: Mapping[str, Mapping[int, Contestant]]) -> Sequence[Contestant]:
    """The contestants in an order in which neither a kind nor a size comes in a block."""
    return [one for turn in zip(*(sizes.values() for sizes in by_size.values()), strict=True) for one in turn]


def _cost(contestant: Contestant) -> Figure:
    return Figure([1_000_000 / load.polls_per_second for load in contestant.rounds], "µs")
