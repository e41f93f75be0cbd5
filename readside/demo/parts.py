"""The parts of the demo: each is started, started again on the same port, and stopped."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from readmodel.errors import DemoError
from readside.demo.processes import STOP_SECONDS, Child, spawn
from readside.demo.server import EmbeddedServer


class DemoPart(Protocol):
    """A server or a program. `start` may be called again once its process has ended; errors are DemoError."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def child(self) -> Child:
        """Its newest process; raises DemoError where it was never started."""

    async def start(self) -> None:
        """Start its process; returns once a server accepts connections, or a program is launched."""

    async def stop(self) -> None:
        """End its process in good order; nothing to do where none runs."""


class DemoServer:
    """An embedded server that runs, and keeps its port for as long as the demo does: the programs know no other."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self._port = server.port
        self._child = server.child

    @property
    def name(self) -> str:
        """The server's own name."""
        return self._server.name

    @property
    def child(self) -> Child:
        """The process that was started last, though it may have ended."""
        return self._child

    async def start(self) -> None:
        """Start the server; raises DemoError where it cannot have the port that it had."""
        await self._server.start()
        self._child = self._server.child
        if self._server.port != self._port:
            raise DemoError(f"Another program took port {self._port} of {self.name} while it was down.")

    async def stop(self) -> None:
        """End the server."""
        await self._server.stop()


class DemoProgram:
    """One of our own programs, with a log of its own."""

    def __init__(self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._environment = environment
        self._child: Child | None = None

    @property
    def child(self) -> Child:
        """Its newest process."""
        if self._child is None:
            raise DemoError(f"{self.name} is not running.")
        return self._child

    async def start(self) -> None:
        """Launch the program."""
        self._child = spawn(self.name, self._command, log=self._log, environment=self._environment)

    async def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self._child is not None:
            await self._child.end(grace_seconds=STOP_SECONDS)
