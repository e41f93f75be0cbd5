"""PostgreSQL refuses to run as root: which user it runs as instead, and programs that this user can reach."""

import os
import pwd
import shutil
import stat
import tempfile
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


def open_directory() -> Path:
    """A directory for temporary files that everybody may pass through; raises DemoError."""
    for directory in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):  # noqa: S108 - mkdtemp follows
        if directory.is_dir() and everybody_passes(directory / "file"):
            return directory
    raise DemoError("PostgreSQL does not run as root, and other users can reach no temporary directory: set TMPDIR.")


def copy_programs(programs: Path, copies: Path) -> Path:
    """Copy `initdb`, `postgres` and what they need below `copies`, for any user to run; the directory of both.

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
    return copy / "bin"


def everybody_passes(path: Path) -> bool:
    """Whether any user may pass through the directories above a path."""
    return all(directory.stat().st_mode & stat.S_IXOTH for directory in path.resolve().parents)
