"""The Lua scripts: all that reads or changes the view in more than one key."""

from functools import cache
from importlib.resources import files


@cache
def source(name: str, package: str = __name__) -> str:
    """Return the text of a package's `<name>.lua`, after that of `index.lua`: what works on the type index."""
    pieces = (files(__name__).joinpath("index.lua"), files(package).joinpath(f"{name}.lua"))
    return "".join(piece.read_text(encoding="utf-8") for piece in pieces)
