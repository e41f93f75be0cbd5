"""Which hosts a request may be for: a page that has its own name point here is told nothing (DNS rebinding)."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PORT = re.compile(rb":\d{0,5}$")
_NAME = re.compile(rb"[0-9a-z_-]+(?:\.[0-9a-z_-]+)*")
"""What can be below another name: two hosts are none, nor is what a path or a user stands in."""


class Hosts:
    """Names that requests may bear in `Host`: `*.a.example` is any below it. Without names every host will do."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.checked = bool(names)
        self._names = {name.lower().encode() for name in names if not name.startswith("*.")}
        self._endings = tuple(name[1:].lower().encode() for name in names if name.startswith("*."))

    def include(self, host: bytes | None) -> bool:
        """Tell whether a request for this host is one for us. Case, the port and a last dot do not matter."""
        if not self.checked:
            return True
        name = _PORT.sub(b"", (host or b"").strip().lower()).removesuffix(b".")
        return name in self._names or (name.endswith(self._endings) and _NAME.fullmatch(name) is not None)


ANY_HOST = Hosts()
