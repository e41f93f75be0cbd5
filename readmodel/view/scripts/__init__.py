"""The Lua scripts: all that reads or changes the view in more than one key."""

from functools import cache
from importlib.resources import files

_LOOK_UP_EVENTS = {"read", "stream"}


@cache
def source(name: str, package: str = __name__) -> str:
    """Return the text of a package's `<name>.lua`, after that of what it works with: the type index, or events too."""
    pieces = [files(__name__).joinpath("index.lua")]
    pieces += [files(__name__).joinpath("members.lua")] if name in _LOOK_UP_EVENTS else []
    return "".join(piece.read_text(encoding="utf-8") for piece in [*pieces, files(package).joinpath(f"{name}.lua")])
