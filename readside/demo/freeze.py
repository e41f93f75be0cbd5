"""Stop a process for a while; run as `python -I -S freeze.py PID SECONDS`. However this ends, the process goes on."""

import os
import signal
import sys
import time
from contextlib import suppress


def main() -> None:
    """SIGTERM, which the kernel sends when our parent dies, thaws it earlier."""
    pid, seconds = int(sys.argv[1]), float(sys.argv[2])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with suppress(ProcessLookupError):
        try:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)


if __name__ == "__main__":
    main()
