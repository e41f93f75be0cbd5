"""What a run has found, as the README shows it. `python -m tests.oracle.figures SEED` keeps it and puts it there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.oracle.report import RESULTS

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
KEPT = ROOT / "specs" / "001-session-events" / "long-run.json"
_BEGIN, _END = "<!-- oracle -->", "<!-- /oracle -->"
_TEXT = """\
The last long run (`make chaos SECONDS={seconds:.0f} SEED={seed}`): {commits:,} commits of
{events_written:,} events ({commits_of_prepared_transactions} commits of prepared transactions), {faults} faults,
**{answers:,} answers checked** ({by_source}),
**{wrong} wrong, {events_missing} events missing**; {refused:,} polls were refused with 503.
Longest staleness of an answer to a poll that named no bound: {staleness}.
From a fault until polls were served from a live view again (a fault that another one followed at once has no time):

| fault | struck | healed after, median | longest |
|---|---|---|---|
{rows}"""


def markdown(run: dict[str, Any]) -> str:
    """Tell of a run in a few lines and a table, from what `Report.summary` gives."""
    answers = run["answers_checked"]
    rows = []
    for fault, healed in run["heal_seconds"].items():
        median, longest = (f"{healed[name]} s" if name in healed else "" for name in ("median", "longest"))
        rows.append(f"| {fault} | {healed['struck']} | {median} | {longest} |")
    return _TEXT.format_map(
        run
        | {
            "answers": answers["all"],
            "by_source": ", ".join(f"{count:,} from {name}" for name, count in answers.items() if name != "all"),
            "wrong": len(run["failures"]),
            "refused": run["by_status"].get("503", 0),
            "staleness": ", ".join(f"{s} s from {name}" for name, s in run["longest_staleness_seconds"].items()),
            "rows": "\n".join(rows),
        }
    )


def shown(text: str) -> str:
    """Give what a text has between the marks."""
    return text.partition(_BEGIN)[2].partition(_END)[0].strip()


def main() -> None:
    """Keep one seed's figures, and put them between the README's marks."""
    kept = (RESULTS / f"seed-{sys.argv[1]}.json").read_text()
    KEPT.write_text(kept)
    text = README.read_text()
    before, after = text.partition(_BEGIN)[0], text.partition(_END)[2]
    README.write_text(f"{before}{_BEGIN}\n{markdown(json.loads(kept))}\n{_END}{after}")


if __name__ == "__main__":
    main()
