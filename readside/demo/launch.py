"""Become another program that ends when its parent does; run as `python -I -S launch.py PARENT SIGNAL UID PROGRAM…`.

A program of its own, and not a `preexec_fn`, since Python code between fork and exec can deadlock in a process with
threads. It runs without site-packages, so that it costs some 20 ms. PARENT is a process id: should that process be
gone already, nothing is started. SIGNAL is what the kernel sends when the parent dies (Linux only). UID is a user id to
change to, or `-` to stay.
"""

# Imported here, not where it is used: the other user may not be able to read Python's own library.
import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def become_user(uid: int) -> None:
    """Give up root for `uid`, its groups included."""
    gid = pwd.getpwuid(uid).pw_gid
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def end_with_parent(parent_pid: int, signal_number: int) -> None:
    """Ask the kernel for a signal when the parent dies; exit where it has died already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    if os.getppid() != parent_pid:
        sys.exit("The process that started this one is gone.")


def main() -> None:
    """Change user first: doing so clears the death signal."""
    parent_pid, signal_number, uid = sys.argv[1:4]
    if uid != "-":
        become_user(int(uid))
    end_with_parent(int(parent_pid), int(signal_number))
    program = sys.argv[4:]
    try:
        os.execv(program[0], program)
    except OSError as error:
        sys.exit(f"{program[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
