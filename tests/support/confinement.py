"""A systemd unit read, and its filter of system calls put on a process as systemd does, by libseccomp.

`python -m tests.support.confinement UNIT PROGRAM [ARGUMENT…]` becomes the program, confined.
"""

import ctypes
import errno
import os
import socket
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

PROT_WRITE, PROT_EXEC = 2, 4
_NO_NEW_PRIVILEGES = 38  # prctl.h
_ALLOW = 0x7FFF0000  # seccomp.h, as all below
_EQUAL, _MASKED_EQUAL = 4, 7


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def settings_of(unit: Path) -> dict[str, list[str]]:
    """A unit's settings in their order, each with all its values."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in unit.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found[name].append(value)
    return dict(found)


def allowed_calls(unit: Path) -> set[str]:
    """The names of the system calls that a unit allows: those that it lists, less those after a tilde."""
    allowed: set[str] = set()
    for value in settings_of(unit)["SystemCallFilter"]:
        names = {call for word in value.removeprefix("~").split() for call in _calls(word)}
        allowed = allowed - names if value.startswith("~") else allowed | names
    return allowed


def _calls(name: str) -> set[str]:
    """The calls of a set, as systemd itself lists them, or the one."""
    if not name.startswith("@"):
        return {name}
    command = ["systemd-analyze", "--no-pager", "syscall-filter", name]
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    members = [line.strip() for line in said.splitlines()[1:]]
    return {call for member in members if member and not member.startswith("#") for call in _calls(member)}


def confine(unit: Path) -> None:
    """Confine this process, and what it becomes, to a unit's calls, families of addresses, and memory without code."""
    settings = settings_of(unit)
    calls = allowed_calls(unit)
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(_refusal(errno.EPERM)))

    def allow(call: str, *comparisons: _Comparison) -> None:
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:  # a call of another architecture has none here
            array = (_Comparison * len(comparisons))(*comparisons)
            result = library.seccomp_rule_add_array(context, _ALLOW, number, len(comparisons), array)
            if result:
                raise OSError(-result, call)

    rules: dict[str, list[_Comparison]] = {}
    if settings["MemoryDenyWriteExecute"] == ["yes"]:
        without_code = _Comparison(2, _MASKED_EQUAL, PROT_EXEC, 0)
        rules["mmap"] = [without_code, _Comparison(2, _MASKED_EQUAL, PROT_WRITE, 0)]
        rules["mprotect"] = rules["pkey_mprotect"] = [without_code]
    families = [family for value in settings["RestrictAddressFamilies"] for family in value.split()]
    rules["socket"] = [_Comparison(0, _EQUAL, getattr(socket, family), 0) for family in families]
    for call in sorted(calls):
        for comparison in rules.get(call, ()):
            allow(call, comparison)
        if call not in rules:
            allow(call)
    ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if result := library.seccomp_load(context):
        raise OSError(-result, "seccomp_load")


def _refusal(number: int) -> int:
    return 0x00050000 | number


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
