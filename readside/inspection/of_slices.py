"""What `readside doctor` finds at the slices of the view, where there are several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from readmodel.view.projection import Projection, named_slices, other_slices_than_leader, slices_of
from readside.inspection.findings import Finding, fine, problem, warning


def judge_slices(projection: Projection | None) -> Iterator[Finding]:
    """Judge how the slices are, and whether all projectors are set to the same number of them."""
    if projection is None:
        return
    if projection.slices:
        yield _of_states(projection)
    leader = projection.leader
    differing = [report for report in projection.standbys if leader and slices_of(report) != slices_of(leader)]
    for report in differing:
        yield problem(
            "slices", f"{_name(report)}: {other_slices_than_leader(slices_of(leader or {}), slices_of(report))}"
        )


def _of_states(projection: Projection) -> Finding:
    slices = projection.slices
    nodes = len({one.node for one in slices})
    told = f"{len(slices)} on {nodes} {'node' if nodes == 1 else 'nodes'}"
    unwell = [one for one in slices if one.status != "live"]
    if not unwell:
        return fine("slices", f"{told}, all live")
    found = f"{told}; not live: {named_slices(unwell)}."
    if any(one.status == "down" for one in unwell):
        return problem("slices", found, "See `readside status`.")
    return warning("slices", found, "See `readside status`.")


def _name(report: Mapping[str, Any]) -> str:
    return f"{report.get('host')} pid {report.get('pid')}"
