"""Secrets in files: how one is read, and how a running process takes up what changed in it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from readmodel.errors import ConfigurationError

LOOK_SECONDS = 2.0
"""So often a watched file is read. What is new is taken up when two looks in a row find the same: it is whole then."""
SLOW_SECONDS = 30.0
"""A disk that takes longer for one look is told of."""
MOST_BYTES = 1_000_000
_MOUNTED = (Path("/run/secrets"), Path("/var/run/secrets"), Path("/run/credentials"))
"""Where Docker, Kubernetes and systemd put secrets: nobody else is in there, whatever the mode."""

T = TypeVar("T")
_log = structlog.get_logger(__name__)


def read_secret(path: Path, setting: str) -> str:
    """A file's text without its last newline; raises ConfigurationError with setting and file, never content."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
            raise ConfigurationError(f"{_named(path, setting)} is no regular file.")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as exc:
        reason = (exc.strerror or type(exc).__name__).lower()
        raise ConfigurationError(f"{_named(path, setting)} cannot be read: {reason}.") from None
    if len(content) > MOST_BYTES:
        raise ConfigurationError(f"{_named(path, setting)} is longer than {MOST_BYTES / 1_000_000:g} MB.")
    try:
        text = content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{_named(path, setting)} is not UTF-8.") from None
    if not text.strip():
        raise ConfigurationError(f"{_named(path, setting)} is empty.")
    return text


class GivenSecrets:
    """Secrets as they are set: each by a variable, or by one of its name and `_FILE` that names a file.

    A file that cannot be read is told of where its secret is wanted: most processes do not need all of them.
    """

    def __init__(self, texts: Mapping[str, str], files: Mapping[str, Path]) -> None:
        """Read the files; both by the variable without `_FILE`. Raises ConfigurationError where one is set twice."""
        self._texts = dict(texts)
        self._files = dict(files)
        self._unread: dict[str, ConfigurationError] = {}
        for variable, path in files.items():
            if texts.get(variable):
                raise ConfigurationError(f"{variable} and {variable}_FILE are both set: set one of them.")
            try:
                self._texts[variable] = read_secret(path, self.source(variable))
            except ConfigurationError as error:
                self._unread[variable] = error

    @property
    def files(self) -> dict[str, Path]:
        """The files, each by the variable that names it."""
        return {self.source(variable): path for variable, path in self._files.items()}

    def file(self, variable: str) -> Path | None:
        """The file that holds a secret; None where it is in a variable, or nowhere."""
        return self._files.get(variable)

    def source(self, variable: str) -> str:
        """Name the variable that a secret is set by."""
        return f"{variable}_FILE" if variable in self._files else variable

    def text(self, variable: str) -> str:
        """A secret, "" where it is not set; raises ConfigurationError where its file could not be read."""
        if variable in self._unread:
            raise self._unread[variable]
        return self._texts.get(variable, "")

    def readable(self, variable: str) -> str:
        """A secret as far as it could be read."""
        return "" if variable in self._unread else self._texts.get(variable, "")


def warn_of_open_files(files: Mapping[str, Path]) -> None:
    """Log a warning for each file, by its setting, that every user of this machine may read or write."""
    for setting, path in files.items():
        others = access_of_others(path)
        if others:
            _log.warning(
                "every user of this machine has access to a secret",
                setting=setting,
                file=str(path),
                may=" and ".join(others),
                todo=f"chmod o= {path}",
            )


def access_of_others(path: Path) -> list[str]:
    """Tell what every user of this machine may do to a file: `read`, `write`; nothing where it is a mounted secret."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return []  # whoever needs it says so
    others = [word for bit, word in ((stat.S_IROTH, "read"), (stat.S_IWOTH, "write")) if mode & bit]
    return [] if _is_mounted(path) else others


def _named(path: Path, setting: str) -> str:
    """Name a file. A setting's value may be the secret itself, by mistake: it is shown only where it must be a path."""
    return f"{setting} ({path})" if _leads_somewhere(path) else f"{setting} (not shown: it leads nowhere)"


def _leads_somewhere(path: Path) -> bool:
    try:
        return path.exists() or (path.is_absolute() and path.parent != Path("/") and path.parent.is_dir())
    except OSError:  # no right to look, or far too long
        return False


def _is_mounted(path: Path) -> bool:
    """Tell whether nobody but a container's own process sees it: Kubernetes' mounts lead through `..data`."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 (resolve() would follow the very link that is looked for)
    return any(absolute.is_relative_to(place) for place in _MOUNTED) or any(
        part.startswith("..") for part in path.resolve().parts
    )


class WatchedFile(Generic[T]):
    """A file whose secrets are taken up as they change, without a restart.

    `parse` makes of its text what `take` is given; it raises ConfigurationError where the text is not as it must be.
    What was in force stays then, and the log says so once. `current` is what was read at the start.
    """

    def __init__(
        self, path: Path, setting: str, parse: Callable[[str], T], take: Callable[[T], None], current: T
    ) -> None:
        self._path = path
        self._setting = setting
        self._parse = parse
        self._take = take
        self._current = current
        self._found = ""
        self._judged = ""

    async def run(self, look_seconds: float = LOOK_SECONDS) -> None:
        """Look again and again, for ever."""
        while True:
            await asyncio.sleep(look_seconds)
            await self.look()

    async def look(self) -> None:
        """Read the file in a thread; act on what this look and the one before found alike."""
        found = await self._read()
        trace = _trace(found)
        if trace == self._found != self._judged:
            self._judged = trace
            self._judge(found)
        self._found = trace

    def _judge(self, found: str | ConfigurationError) -> None:
        try:
            if isinstance(found, ConfigurationError):
                raise found
            value = self._parse(found)
            if value != self._current:
                self._take(value)
                self._current = value
                _log.info("a changed file is in force", setting=self._setting, file=str(self._path))
        except ConfigurationError as error:
            _log.error("a file's former content stays in force", setting=self._setting, reason=str(error))

    async def _read(self) -> str | ConfigurationError:
        """Wait for a thread that reads; while the disk hangs, only this waits. A daemon holds no process' end."""
        loop = asyncio.get_running_loop()
        given: asyncio.Future[str | ConfigurationError] = loop.create_future()

        def give(found: str | ConfigurationError) -> None:
            if not given.done():
                given.set_result(found)

        def read() -> None:
            found = _read_or_refused(self._path, self._setting)
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(give, found)

        try:
            threading.Thread(target=read, name=self._setting, daemon=True).start()
        except RuntimeError:
            return ConfigurationError(f"{self._setting} cannot be read: no thread can be started.")
        while not (await asyncio.wait({given}, timeout=SLOW_SECONDS))[0]:
            _log.warning("a file cannot be read in time", setting=self._setting, file=str(self._path))
        return given.result()


def _read_or_refused(path: Path, setting: str) -> str | ConfigurationError:
    try:
        return read_secret(path, setting)
    except ConfigurationError as error:
        return error


def _trace(found: str | ConfigurationError) -> str:
    """What tells one look's result from another's; of secrets their digest alone."""
    if isinstance(found, ConfigurationError):
        return str(found)
    return hashlib.sha256(found.encode()).hexdigest()
