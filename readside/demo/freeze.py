"""Stop a process for a while; run as `python -I -S freeze.py PID SECONDS`.

The process goes on when the time is over, and when SIGTERM ends this one, which the kernel sends when our parent dies.
After a SIGKILL, whoever started this one has to let it go on.
"""

import os
import signal
import sys
import time
from contextlib import suppress


def main() -> None:
    """Stop it, wait, and let it go on; SIGTERM ends the wait."""
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
