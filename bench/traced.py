"""A process of ours that writes down which files run between two signals: `python traced.py TREE REPORT COMMAND…`."""

import json
import runpy
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any


class Trace:
    """The files of the functions that were entered, or went on after a pause, since the first of two signals."""

    def __init__(self, report: Path) -> None:
        self._report = report
        self._recording = False
        self._files: set[str] = set()

    def profile(self, frame: FrameType, event: str, _argument: Any) -> None:
        """Note a call; a coroutine that goes on is one, too."""
        if self._recording and event == "call":
            self._files.add(frame.f_code.co_filename)

    def turn(self, *_: Any) -> None:
        """Begin or end, and report it: whole or not at all."""
        self._recording = not self._recording
        files = [] if self._recording else sorted(self._files)
        self._files.clear()
        new = self._report.with_suffix(".new")
        new.write_text(json.dumps({"recording": self._recording, "files": files}), encoding="utf-8")
        new.rename(self._report)


def main(tree: str, report: str, *command: str) -> None:
    """Run a command of that tree's readside."""
    trace = Trace(Path(report))
    signal.signal(signal.SIGUSR1, trace.turn)
    sys.path[0] = tree
    sys.argv = ["readside", *command]
    threading.setprofile(trace.profile)
    sys.setprofile(trace.profile)
    runpy.run_module("readside", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
