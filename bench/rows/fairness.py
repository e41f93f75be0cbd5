"""What one key can do to the polls of another: hot ones and those of Postgres, alone and beside each attack."""

import asyncio
import secrets
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile

from bench.contest import answer_of, nothing_new
from bench.events import fill, session_id
from bench.load import COUNTER, HEADERS, percentile, script, wrk
from bench.polling_client import PollingClient
from bench.revision import tree_of
from bench.rows.polling import EVENTS_PATH
from bench.stack import API_KEY, ROOT, Servers, output_of
from bench.table import Figure, Measurement, Row, Target
from bench.watching import forget_peak, peak_mb, resident_mb
from readside.demo.processes import LOOPBACK

NAME = "fairness"
ROUNDS, SECONDS = 5, 4
CONNECTIONS = 80
"""Of the key that attacks."""
CLIENTS = 2
"""Of the key that is attacked, each with hot polls and with polls of Postgres."""
PAUSE_SECONDS, POLL_SECONDS = 0.01, 10.0
"""A poll that fails counts as long as one may take."""
WINDOW_MB, LARGE, SMALL, COLD = "2", 100_000, 1_000, 3_000
"""The first session is larger than what of it is hot; the second is the victim's; the others are cold."""
OPEN_FILES = 8_192
HOG_KEY = secrets.token_urlsafe(16)
TWICE = Target(2, at_most=True)
UNREAD = "pages-unread", "different-pages-unread"
"""Of bench/attack.py."""
_ROUND = "{r}"
"""Stands in a target for digits that each round has anew: no answer of the round before is remembered."""
_EARLY = f"since=19{_ROUND}-01-01T00:00:00.{COUNTER}Z"
_VICTIMS_PATH = EVENTS_PATH.replace(session_id(1), session_id(2))
KINDS = "hot", "postgres"


@dataclass(frozen=True, slots=True)
class GreedyKey:
    """What the other key asks for, over all of its connections, back to back; `unread` names one of bench/attack.py."""

    what: str
    targets: Sequence[str] = ()
    headers: dict[str, str] = field(default_factory=dict)
    unread: str = ""


def greedy_keys() -> list[GreedyKey]:
    """The attacks."""
    deep = [f"{EVENTS_PATH}?limit=100&page={page}&{_EARLY}" for page in range(100, LARGE // 100, 7)]
    cold = [f"/api/v2/sessions/{session_id(number)}/events" for number in range(3, COLD + 3)]
    unknown = f"/api/v2/sessions/00000000-0000-4000-8000-{_ROUND * 3}{COUNTER}/events"
    return [
        GreedyKey("deep pages", deep),
        GreedyKey("Max-Staleness 0", [f"{_VICTIMS_PATH}?limit=1000&{_EARLY}"], {"Readside-Max-Staleness": "0"}),
        GreedyKey("random ids", [unknown]),
        GreedyKey("cold sessions", cold),
        GreedyKey("distinct polls of Redis", [f"{_VICTIMS_PATH}?limit=1000&{_EARLY}"]),
        *(GreedyKey(f"300 connections, {name}", unread=name) for name in UNREAD),
    ]


@dataclass(slots=True)
class Victim:
    """What its polls took, in milliseconds, by kind."""

    port: int
    hot: str
    waits: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    failed: int = 0

    @asynccontextmanager
    async def polling(self) -> AsyncIterator[None]:
        """Poll for as long as the block lasts."""
        targets = {"hot": (self.hot, HEADERS), "postgres": (f"{_VICTIMS_PATH}?limit=100", _STRICT)}
        polls = asyncio.gather(*(self._poll(kind, *targets[kind]) for kind in KINDS for _ in range(CLIENTS)))
        try:
            yield
        finally:
            polls.cancel()
            with suppress(asyncio.CancelledError):
                await polls

    async def _poll(self, kind: str, target: str, headers: dict[str, str]) -> None:
        while True:
            async with AsyncExitStack() as stack:
                client = await stack.enter_async_context(PollingClient.open(LOOPBACK, self.port))
                answered = True
                while answered:
                    began, answered = time.perf_counter(), False
                    with suppress(OSError):
                        async with asyncio.timeout(POLL_SECONDS):
                            answered = (await client.get(target, headers)).status == 200
                    self.waits[kind].append((time.perf_counter() - began if answered else POLL_SECONDS) * 1_000)
                    self.failed += not answered
                    await asyncio.sleep(PAUSE_SECONDS)

    def point(self, kind: str, share: float) -> float:
        """A percentile of the waits of a kind."""
        return percentile(self.waits[kind], share)


_STRICT = {**HEADERS, "Readside-Max-Staleness": "0"}


@dataclass(slots=True)
class Contrast:
    """Rounds of a victim alone and beside an attack; `gained_mb` is what the process had more at its largest."""

    alone: list[Victim] = field(default_factory=list)
    beside: list[Victim] = field(default_factory=list)
    gained_mb: list[float] = field(default_factory=list)

    def figures(self, kind: str, share: float) -> tuple[Figure, Figure]:
        """A percentile beside the attack, and alone."""
        failed = sum(victim.failed for victim in self.beside)
        note = f"p{share:g}; {failed} polls failed" if failed else f"p{share:g}"
        beside = Figure([victim.point(kind, share) for victim in self.beside], "ms", note)
        return beside, Figure([victim.point(kind, share) for victim in self.alone], "ms")


async def measure(servers: Servers) -> Measurement:
    """Attack in turns; with --base the earlier version first, then this one."""
    rows: list[Row] = []
    base = servers.choices.base
    if base is not None:
        with tree_of(base) as tree:
            rows += await _of_one(servers, f", {base}", tree)
    return Measurement([*rows, *await _of_one(servers, "", ROOT)])


async def _of_one(servers: Servers, name: str, source: Path) -> list[Row]:
    rounds, seconds = servers.choices.rounds or ROUNDS, servers.choices.seconds or SECONDS
    rows: list[Row] = []
    async with servers.site(source=source) as site:
        await fill(site.connection, 1, LARGE)
        await fill(site.connection, 1, SMALL, first=2)
        await fill(site.connection, COLD, 100, first=3)
        await site.run("install")
        keys = f"bench:{API_KEY}:read+ops,hog:{HOG_KEY}:read"
        async with (
            site.projector(warm_limit="0", max_hot_sessions="100", window_mb=WINDOW_MB),
            site.api_process(open_files=OPEN_FILES, api_keys=keys) as (port, process),
        ):
            await site.run("warm", session_id(1), session_id(2))
            hot = await nothing_new(port, _VICTIMS_PATH)
            for greedy in greedy_keys():
                contrast = Contrast()
                for number in range(rounds + 1):
                    await _round(
                        contrast, Victim(port, hot), Victim(port, hot), greedy, process, seconds, keep=number > 0
                    )
                rows += rows_of(greedy, name, contrast)
    return rows


async def _round(
    contrast: Contrast, alone: Victim, beside: Victim, greedy: GreedyKey, process: int, seconds: int, *, keep: bool
) -> None:
    """Measure alone, and then beside the attack; the first round is not kept."""
    async with alone.polling():
        await asyncio.sleep(seconds)
    before = resident_mb(process)
    forget_peak(process)
    async with beside.polling():
        await _attack(beside.port, greedy, seconds)
    contrast.gained_mb.append(peak_mb(process) - before)
    if keep:
        contrast.alone.append(alone)
        contrast.beside.append(beside)
    await answer_of(beside.port, beside.hot, "memory")


async def _attack(port: int, greedy: GreedyKey, seconds: int) -> None:
    if greedy.unread:
        arguments = greedy.unread, str(port), EVENTS_PATH, HOG_KEY, str(seconds)
        await output_of(sys.executable, str(ROOT / "bench" / "attack.py"), *arguments)
        return
    digits = str(10 + secrets.randbelow(60))
    options = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", f"http://{LOOPBACK}:{port}/"]
    with NamedTemporaryFile("w", encoding="utf-8", suffix=".lua") as file:
        file.write(script([target.replace(_ROUND, digits) for target in greedy.targets], "GET"))
        file.flush()
        await wrk("--script", file.name, *options, headers={"X-API-Key": HOG_KEY, **greedy.headers})


def rows_of(greedy: GreedyKey, name: str, contrast: Contrast) -> list[Row]:
    """The rows of one attack."""
    words = {"hot": "hot polls", "postgres": "polls of Postgres"}
    rows = []
    for kind in KINDS:
        for share in (50, 99):
            beside, alone = contrast.figures(kind, share)
            rows.append(Row(f"{words[kind]} beside {greedy.what}{name}", beside, "alone", alone, TWICE))
    rows.append(
        Row(
            f"memory gained by {greedy.what}{name}",
            Figure(contrast.gained_mb, "MB", f"at most {max(contrast.gained_mb):.0f}"),
        )
    )
    for row in rows:
        print("  " + ", ".join(row.cells()), flush=True)
    return rows
