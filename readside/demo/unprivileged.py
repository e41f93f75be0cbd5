"""PostgreSQL refuses to run as root: which user it runs as instead, and programs that this user can reach."""

import os
import pwd
import shutil
import stat
from pathlib import Path

from readmodel.errors import DemoError

UNPRIVILEGED_USER = "nobody"  # there on every Unix, unlike one of our own


def server_uid(cluster: Path) -> int | None:
    """The user id to run the server as; None where we are not root and it simply runs as us.

    A cluster that exists already keeps its owner.
    """
    if os.geteuid() != 0:
        return None
    owner = cluster.stat().st_uid if cluster.exists() else 0
    if owner:
        return owner
    try:
        return pwd.getpwnam(UNPRIVILEGED_USER).pw_uid
    except KeyError as exc:
        raise DemoError(
            f"PostgreSQL does not run as root, and there is no user {UNPRIVILEGED_USER} to run it as."
        ) from exc


def reachable_programs(programs: Path, copies: Path) -> Path:
    """Copy `initdb`, `postgres` and what they need below `copies`, for any user to run; the copies' directory.

    A virtual environment in somebody's private home is closed to other users, and changing the permissions of other
    people's directories is no business of ours. The copy (20 MB) keeps the layout of the bundled package, whose
    programs find their libraries relative to themselves.
    """
    copies.chmod(0o711)
    installation, package = programs.parent, programs.parent.parent
    copy = copies / package.name / installation.name
    for part in ("lib", "share"):
        shutil.copytree(installation / part, copy / part)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, copies / libraries.name)
    (copy / "bin").mkdir()
    for name in ("initdb", "postgres"):
        shutil.copy2(programs / name, copy / "bin" / name)
    if not everybody_passes(copies):
        raise DemoError(
            f"PostgreSQL does not run as root, and other users cannot reach {copies}: "
            "start the demo as an ordinary user, or set TMPDIR to a directory that is open to everybody."
        )
    return copy / "bin"


def everybody_passes(path: Path) -> bool:
    """Whether any user may pass through the directories above a path."""
    return all(directory.stat().st_mode & stat.S_IXOTH for directory in path.resolve().parents)
