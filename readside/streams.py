"""Standard input, output and error as every process of ours finds them: there, and able to hold any text.

A shell can close them (`>&-`), a locale can leave them ASCII, a pipe can end, and a disk can be full.
"""

from __future__ import annotations

import codecs
import errno
import os
import select
import sys
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import TYPE_CHECKING

from readmodel.errors import ServiceError
from readmodel.shown import escapes

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

ESCAPES = "readside.escapes"
"""What is done with characters that a stream cannot hold: they are written as JSON would escape them."""
READER_GONE = 141
"""Exit code where nobody reads what we write: what a shell shows of a program that SIGPIPE ended."""


class OutputLost(ServiceError):
    """What a command told could not be written."""


class _Descriptor(FileIO):
    """A standard stream's descriptor; it stays open, and remembers why nothing could be written."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self.lost: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, and wait where the other end shares a descriptor that does not."""
        try:
            while (written := super().write(data)) is None:
                select.select([], [self], [])
        except OSError as exc:
            self.lost = exc
            raise
        return written


class _Forgiving(_Descriptor):
    """Standard error's: a line of the log that cannot be written ends no service, and hides no error."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


class StandardStreams:
    """The process' own, once they are put in order."""

    def __init__(self) -> None:
        """Open on /dev/null what is closed: libuv would take the free descriptors for its own, and abort."""
        codecs.register_error(ESCAPES, _escaped)
        for number in range(3):
            _open_missing(number)
        self._output = _Descriptor(1)
        sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (a descriptor, for good)
        sys.stdout = _text(self._output, sys.stdout)
        sys.stderr = _text(_Forgiving(2), sys.stderr)

    def finish(self) -> None:
        """Write out what was told. Raises OutputLost; exits quietly where nobody reads any more."""
        try:
            sys.stdout.flush()
        except OSError as exc:
            self._output.lost = exc
        lost = self._output.lost
        if lost is None:
            return
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left is written again at the end
        if lost.errno == errno.EPIPE:
            raise SystemExit(READER_GONE)
        raise OutputLost(f"The output cannot be written: {(lost.strerror or str(lost)).lower()}.") from lost


def _open_missing(number: int) -> None:
    """Open a descriptor that is closed; processes that we start inherit it, as they do the others."""
    try:
        os.fstat(number)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number: this one


def _text(descriptor: _Descriptor, former: object) -> TextIOWrapper:
    """A stream of text in the encoding that Python chose for it."""
    encoding = getattr(former, "encoding", None) or "utf-8"
    line_buffering = descriptor.fileno() == 2 or descriptor.isatty()
    return TextIOWrapper(BufferedWriter(descriptor), encoding, ESCAPES, line_buffering=line_buffering)


def _escaped(error: UnicodeError) -> tuple[str | bytes, int]:
    """What stands for characters that cannot be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return escapes(error.object[error.start : error.end]), error.end
