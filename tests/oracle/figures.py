"""What long runs have found, as the documents show it.

`python -m tests.oracle.figures SEED` keeps a run's figures and puts them into specs/guarantees.md; with the name of an
installation after the seed (cluster, sentinel, standby) into specs/001-session-events/healing.md.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.oracle.report import RESULTS

ROOT = Path(__file__).parents[2]
GUARANTEES, SPECS = ROOT / "specs" / "guarantees.md", ROOT / "specs" / "001-session-events"
PAGES = dict.fromkeys(("cluster", "sentinel", "standby"), SPECS / "healing.md") | {"one": GUARANTEES}
"""By installation: where its figures are shown."""
_TEXT = """\
The last long run (`make chaos{site} SECONDS={seconds:.0f} SEED={seed}`): {commits:,} commits of
{events_written:,} events ({commits_of_prepared_transactions} commits of prepared transactions), {faults} faults,
**{answers:,} answers checked** ({by_source}{by_standbys}),
**{wrong} wrong, {events_missing} events missing**; {refused:,} polls were refused with 503.{followed}
Longest staleness of an answer to a poll that named no bound: {staleness}.
From a fault until polls were served from a live view again (a fault that another one followed at once has no time):

| fault | struck | healed after, median | longest |
|---|---|---|---|
{rows}"""

_FOLLOWED = """
Followers of streams were given {given:,} events ({sources}), of which {twice:,} came twice: none from the arrival
log, and only where a transaction that was open at the offset's cut had ended.
{anew:,} times an offset ended with a crash or when triggers were dropped, and its follower began anew.
Each of them, of polls with `wait` and of plain polls had in the end what Postgres held."""


def markdown(run: dict[str, Any]) -> str:
    """Tell of a run in a few lines and a table, from what `Report.summary` gives."""
    answers, site = run["answers_checked"], run.get("installation", "one")
    rows = []
    for fault, healed in run["heal_seconds"].items():
        median, longest = (f"{healed[name]} s" if name in healed else "" for name in ("median", "longest"))
        rows.append(f"| {fault} | {healed['struck']} | {median} | {longest} |")
    return _TEXT.format_map(
        run
        | {
            "site": "" if site == "one" else f" SITE={site}",
            "answers": answers["all"],
            "by_standbys": f"; {count:,} by the standby" if (count := run.get("answered_by_standbys")) else "",
            "by_source": ", ".join(f"{count:,} from {name}" for name, count in answers.items() if name != "all"),
            "followed": followed(run) if "events_by_streams" in run else "",
            "wrong": len(run["failures"]),
            "refused": run["by_status"].get("503", 0),
            "staleness": ", ".join(f"{s} s from {name}" for name, s in run["longest_staleness_seconds"].items()),
            "rows": "\n".join(rows),
        }
    )


def followed(run: dict[str, Any]) -> str:
    """Tell of the followers of a run."""
    given, twice = run["events_by_streams"], run["events_that_came_twice"]
    return _FOLLOWED.format(
        given=given["all"],
        sources=", ".join(f"{count:,} from {name}" for name, count in given.items() if name != "all"),
        twice=twice["all"],
        anew=run["streams_begun_anew"],
    )


def kept(installation: str) -> Path:
    """The file that holds the figures of an installation's last long run."""
    return SPECS / ("long-run.json" if installation == "one" else f"long-run-{installation}.json")


def marks(installation: str) -> tuple[str, str]:
    """The marks between which its figures stand."""
    name = "oracle" if installation == "one" else f"oracle {installation}"
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def shown(installation: str) -> str:
    """What its page has between the marks."""
    begin, end = marks(installation)
    return PAGES[installation].read_text().partition(begin)[2].partition(end)[0].strip()


def main() -> None:
    """Keep one seed's figures, and put them between the marks of its page."""
    seed, installation = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "one"
    run = (RESULTS / f"{installation}-seed-{seed}.json").read_text()
    kept(installation).write_text(run)
    page, (begin, end) = PAGES[installation], marks(installation)
    text = page.read_text()
    before, after = text.partition(begin)[0], text.partition(end)[2]
    page.write_text(f"{before}{begin}\n{markdown(json.loads(run))}\n{end}{after}")


if __name__ == "__main__":
    main()
