"""`readside demo` as a process: started anywhere, read, ended, and searched for what it leaves behind."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from readside.demo.processes import free_port
from tests.support.waiting import eventually

SUMMARY_SECONDS = 150
SUMMARY_END = "Ctrl-C ends everything."
END_SECONDS = 120
EVENTS_URL = re.compile(r"http://127\.0\.0\.1:\d+/api/v2/sessions/[0-9a-f-]{36}/events")


@dataclass
class RunningDemo:
    """One `readside demo`, found again by a mark in its environment and by its temporary directory."""

    process: asyncio.subprocess.Process
    temporary: Path
    mark: str
    port: int
    data: Path | None = None
    lines: list[str] = field(default_factory=list)

    async def summary(self) -> str:
        """Read until the summary is whole, and give what was printed so far."""
        if not any(SUMMARY_END in line for line in self.lines):
            await self.line(SUMMARY_END)
        return "".join(self.lines)

    async def line(self, *words: str) -> str:
        """Read until a line has all of these words; that line."""
        assert self.process.stdout is not None
        async with asyncio.timeout(SUMMARY_SECONDS):
            while True:
                line = (await self.process.stdout.readline()).decode()
                assert line, (self.lines, (await self.process.communicate())[1].decode())
                self.lines.append(line)
                if all(word in line for word in words):
                    return line

    async def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int | None, str, str]:
        """Send a signal; exit code, what else it printed, and what stands on stderr."""
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> tuple[int | None, str, str]:
        """Wait for the end; exit code, what else it printed, and what stands on stderr."""
        async with asyncio.timeout(END_SECONDS):
            output, errors = await self.process.communicate()
        return self.process.returncode, output.decode(), errors.decode()

    def left(self) -> list[str]:
        """Processes and files of this demo: its Python children by the mark, its servers by their directory."""
        processes = [str(process) for process in Path("/proc").glob("[0-9]*") if self._owns(process)]
        return processes + [str(path) for path in self.temporary.iterdir()]

    def pid_of(self, *words: str) -> int:
        """The process of this demo whose command line holds these words."""
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it is gone
                if self._owns(process) and set(words) <= set((process / "cmdline").read_text().split("\0")):
                    return int(process.name)
        raise AssertionError(f"no process {words}")

    def server(self, name: str) -> int:
        """The process id of the server whose directory is called so: the first that runs in it."""
        pids = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it is gone
                if self._owns(process) and name in (process / "cwd").readlink().parts:
                    pids.append(int(process.name))
        return min(pids)

    def _owns(self, process: Path) -> bool:
        homes = [self.temporary, *([self.data] if self.data else [])]
        try:
            marked = f"MARK={self.mark}".encode() in (process / "environ").read_bytes()
            return marked or any((process / "cwd").readlink().is_relative_to(home) for home in homes)
        except OSError:
            return False  # it is gone, or a zombie


@asynccontextmanager
async def demo(
    temporary: Path,
    *arguments: str,
    port: int | None = None,
    data: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[RunningDemo]:
    """Start a demo; kill it after the block should it still run."""
    port, mark = port or free_port(), uuid4().hex
    arguments += ("--data", str(data)) if data else ()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("READSIDE_")}
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "readside", "demo", "--port", str(port), *arguments],
        env={**inherited, "TMPDIR": str(temporary), "MARK": mark, **(environment or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    running = RunningDemo(process, temporary, mark, port, data)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
        await eventually(lambda: not [left for left in running.left() if left.startswith("/proc")], "all has ended")


def url_in(summary: str) -> str:
    """Where the summary says that the live session's events are."""
    found = EVENTS_URL.search(summary)
    assert found is not None, summary
    return found[0]


def key_in(summary: str) -> str:
    """The key that the summary tells."""
    found = re.search(r"API key +(\S+)", summary)
    assert found is not None, summary
    return found[1]


def token_in(summary: str) -> str:
    """The token of the summary's link to one session."""
    found = re.search(r"&token=(\S+)", summary)
    assert found is not None, summary
    return found[1]
