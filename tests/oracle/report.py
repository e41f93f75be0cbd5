"""What a run has seen: figures, failures and the evidence for them."""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.oracle.histories import History, Life

RESULTS = Path(__file__).with_name("results")


@dataclass
class Report:
    """Counts of one run."""

    seed: int
    installation: str = "one"
    sources: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    healed: dict[str, list[float]] = field(default_factory=dict)
    staleness_us: dict[str, int] = field(default_factory=dict)
    taken_back: int = 0
    closings: int = 0
    """How often letters were closed, for they could not be emptied."""
    migrations: int = 0
    edited_us: list[int] = field(default_factory=list)
    """How long each edit of somebody's in Redis stood until it was mended."""
    of_edited: int = 0
    commits: int = 0
    prepared: int = 0
    events: int = 0
    missing: int = 0
    by_standbys: int = 0
    """Polls that a hot standby answered."""
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    proof: dict[str, Any] = field(default_factory=dict)
    given: Counter[str] = field(default_factory=Counter)
    """Events that streams gave, by source; of them those that came twice, and how often a stream began anew."""
    continued: Counter[str] = field(default_factory=Counter)
    """Answers of streams that gave any."""
    came_twice: Counter[str] = field(default_factory=Counter)
    begun_anew: int = 0
    late_us: int = 0
    """How long after its commit news came at most to a stream that waited for it."""
    heard_seconds: float = 0.0
    """How long after the last commit the last follower had all."""
    story: list[str] = field(default_factory=list)
    """What was done and when, for the evidence."""
    _etags: dict[str, bytes] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name its files."""
        return f"{self.installation}-seed-{self.seed}"

    def checked(self, source: str, status: int, staleness_us: int) -> None:
        """Count an answer that was right; `staleness_us` 0 where the poll said how stale it may be."""
        self.sources[source] += 1
        self.statuses[status] += 1
        self.staleness_us[source] = max(staleness_us, self.staleness_us.get(source, 0))

    def mended(self, after_us: int) -> None:
        """Note that an edit is mended."""
        self.edited_us.append(after_us)

    def streamed(self, source: str, events: int, twice: int) -> None:
        """Count what a stream gave."""
        self.given[source] += events
        self.continued[source] += bool(events)
        self.came_twice[source] += twice

    def refused(self, status: int) -> None:
        """Count a refusal, which is not wrong."""
        self.statuses[status] += 1

    def heal(self, fault: str, seconds: float) -> None:
        """Note how long it took after a fault's outage until polls were served from a live view again."""
        self.healed.setdefault(fault, []).append(seconds)

    def tell(self, what: str) -> None:
        """Note what happens now."""
        self.story.append(f"{datetime.now(UTC):%H:%M:%S.%f} {what}")

    def fail(self, failure: str) -> None:
        """Note what must not happen."""
        self.failures.append(failure)
        self.tell(failure)

    def same_etag_same_body(self, etag: str, body: bytes) -> None:
        """Hold every ETag to one body."""
        digest = sha256(body).digest()
        if self._etags.setdefault(etag, digest) != digest:
            self.fail(f"the ETag {etag} stands for two bodies")

    def evidence(self, session_id: str, history: History | None, body: bytes) -> None:
        """Keep the first wrong answer and all that is known of its session."""
        if not self.proof:
            known = history or History("")
            self.proof = {
                "session_id": session_id,
                "body": body.decode(errors="replace"),
                "lives": [_life(life) for life in known.lives],
                "events": [_life(life) for life in known.events],
            }

    def summary(self) -> dict[str, Any]:
        """The figures, as JSON has them."""
        return {
            "seed": self.seed,
            "installation": self.installation,
            "seconds": round(self.seconds, 1),
            "answers_checked": {"all": sum(self.sources.values()), **dict(sorted(self.sources.items()))},
            "answered_by_standbys": self.by_standbys,
            "by_status": {str(status): count for status, count in sorted(self.statuses.items())},
            "commits": self.commits,
            "commits_of_prepared_transactions": self.prepared,
            "events_written": self.events,
            "commits_taken_back_by_crashes": self.taken_back,
            "migrations": self.migrations,
            "letters_closed": self.closings,
            "events_missing": self.missing,
            "events_by_streams": {"all": self.given.total(), **dict(sorted(self.given.items()))},
            "answers_of_streams_with_events": {"all": self.continued.total(), **dict(sorted(self.continued.items()))},
            "events_that_came_twice": {"all": self.came_twice.total(), **dict(sorted(self.came_twice.items()))},
            "streams_begun_anew": self.begun_anew,
            "longest_from_commit_to_a_waiting_stream_seconds": round(self.late_us / 1e6, 2),
            "last_follower_had_all_after_seconds": round(self.heard_seconds, 2),
            "edits_mended_seconds": _spread([us / 1e6 for us in self.edited_us]),
            "answers_of_edited_sessions_not_judged": self.of_edited,
            "longest_staleness_seconds": {s: round(us / 1e6, 2) for s, us in sorted(self.staleness_us.items())},
            "faults": sum(self.faults.values()),
            "heal_seconds": {
                name: {"struck": count, **_spread(self.healed.get(name, []))}
                for name, count in sorted(self.faults.items())
            },
            "failures": self.failures[:20],
        }

    def save(self) -> None:
        """Print the figures and keep them under results/."""
        summary = self.summary()
        lines = [f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in summary.items()]
        text = "{\n" + ",\n".join(lines) + "\n}"
        print(f"\n{text}")  # noqa: T201 (a chaos run's output)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{self.name}.json").write_text(text + "\n")
        (RESULTS / f"{self.name}-story.txt").write_text("\n".join(self.story) + "\n")
        if self.proof:
            (RESULTS / f"{self.name}-evidence-{time.time():.0f}.json").write_text(
                json.dumps({**self.proof, "story": self.story}, indent=1)
            )


def _spread(seconds: list[float]) -> dict[str, float]:
    """Of the times to heal that were measured: a fault that another one follows at once has none."""
    return {"median": round(statistics.median(seconds), 2), "longest": round(max(seconds), 2)} if seconds else {}


def _life(life: Life) -> dict[str, Any]:
    event = {} if life.event is None else asdict(life.event)
    return {**event, "born": asdict(life.born), "deaths": [asdict(death) for death in life.deaths]}
