"""A disk that is full for one connection of a server: its files may not grow past half a page.

A write that has space for its first half alone is what PostgreSQL itself calls a full disk (SQLSTATE 53100), whichever
file system lies below; no right to mount one is needed.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

HALF_A_PAGE = 4096


def fill_disk(pid: int) -> None:
    """From now on no page fits into a file that this backend makes or extends."""
    _limit(pid, str(HALF_A_PAGE))


def free_disk(pid: int) -> None:
    """There is space again."""
    _limit(pid, "unlimited")


def _limit(pid: int, most: str) -> None:
    """Set the soft limit, as its own user: root may not where it lacks CAP_SYS_RESOURCE."""
    owner = Path(f"/proc/{pid}").stat()
    subprocess.run(
        ["prlimit", f"--pid={pid}", f"--fsize={most}:"],  # util-linux: wherever Linux is
        user=owner.st_uid, group=owner.st_gid, extra_groups=None, check=True,
    )  # fmt: skip
