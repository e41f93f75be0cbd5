"""Where the demo's servers keep their files: a directory that goes with the demo, or one that stays."""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from readmodel.errors import DemoError

MARK = "readside-demo"


@contextmanager
def workspace(data: Path | None) -> Iterator[Path]:
    """A temporary directory, gone after the block; or `data`, made where it is missing, and kept.

    Raises DemoError when `data` holds other things, is in use by another demo, or cannot be written.
    """
    if data is None:
        try:
            temporary = tempfile.TemporaryDirectory(prefix="readside-demo-")
        except OSError as exc:
            reason = (exc.strerror or str(exc)).lower()
            raise DemoError(f"No temporary directory can be made (TMPDIR): {reason}. Or use --data DIR.") from exc
        with temporary as directory:
            yield Path(directory)
        return
    try:
        data.mkdir(parents=True, exist_ok=True)
        if not (data / MARK).exists() and any(data.iterdir()):
            raise DemoError(f"{data} holds other things: give --data an empty directory, or one of an earlier demo.")
        mark = (data / MARK).open("w", encoding="utf-8")
    except OSError as exc:
        raise DemoError(f"{data} cannot keep the demo's data: {exc.strerror}.") from exc
    with mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)  # lasts as long as the file is open
        except BlockingIOError as exc:
            raise DemoError(f"{data} is in use by another demo.") from exc
        yield data.absolute()
