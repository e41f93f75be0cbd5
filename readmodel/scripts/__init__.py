"""The Lua scripts: all that reads or changes the view in more than one key."""

from functools import cache
from importlib.resources import files

_WITH_INDEX = {"apply", "read"}


@cache
def source(name: str) -> str:
    """Return the text of `<name>.lua`, after that of `index.lua` where it works on the type index."""
    names = ("index", name) if name in _WITH_INDEX else (name,)
    return "".join(files(__name__).joinpath(f"{part}.lua").read_text() for part in names)
