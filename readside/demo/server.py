"""What every embedded server does: start on a free loopback port, restart on the same one, end with us."""

from abc import ABC, abstractmethod
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from readmodel.errors import DemoError
from readside.demo.processes import Child, free_port, last_words, log_since, until

START_ATTEMPTS = 5  # each on another port, when somebody took the free one in between


class EmbeddedServer(ABC):
    """One server whose files, log included, lie in `directory`, made when it is missing. Errors are `DemoError`.

    Start it in a thread that lives as long as the server should (see `spawn`).
    """

    name: ClassVar[str]
    start_seconds: ClassVar[float]
    port_taken: ClassVar[str]  # what its log says when it cannot listen

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.log = self.directory / "log"
        self.port = 0
        self._child: Child | None = None

    @property
    def child(self) -> Child:
        """The running server's process."""
        if self._child is None:
            raise DemoError(f"The embedded {self.name} is not running.")
        return self._child

    @property
    def pid(self) -> int:
        """The running server's process id."""
        return self.child.pid

    async def start(self) -> None:
        """Start the server unless it runs, and return when it accepts connections."""
        if self._child is not None and self._child.running:
            return
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            await self._prepare()
            await self._serve()
        except OSError as exc:
            await self.kill()
            raise DemoError(f"The embedded {self.name} could not be started: {exc}.") from exc
        except BaseException:
            await self.kill()
            raise

    async def stop(self) -> None:
        """End the server in good order."""
        if self._child is not None:
            await self._end(self._child)
            self._child = None

    async def kill(self) -> None:
        """End the server as a crash would."""
        if self._child is not None:
            self._child.kill()
            await self._child.exited()
            self._child = None

    async def restart(self) -> None:
        """Stop the server and start it again on the same port."""
        await self.stop()
        await self.start()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @abstractmethod
    async def _prepare(self) -> None:
        """Make what the server needs in its directory."""

    @abstractmethod
    def _launch(self) -> Child:
        """Start the process, to listen on `port`."""

    @abstractmethod
    def _ready(self, log: str) -> bool:
        """Whether the process just launched, which has written `log`, accepts connections."""

    @abstractmethod
    async def _end(self, child: Child) -> None:
        """End the process in good order."""

    async def _serve(self) -> None:
        for attempt in range(START_ATTEMPTS):
            self.port = self.port if self.port and not attempt else free_port()
            log_start = self.log.stat().st_size if self.log.exists() else 0
            self._child = self._launch()
            if await until(partial(self._ready_since, log_start), self._child, self.start_seconds):
                return
            await self.kill()
            if self.port_taken not in log_since(self.log, log_start):
                break
        raise DemoError(f"The embedded {self.name} did not start.{last_words(self.log)}")

    def _ready_since(self, log_start: int) -> bool:
        return self._ready(log_since(self.log, log_start))
