"""The Lua scripts: all that reads or changes the view in more than one key."""

from functools import cache
from importlib.resources import files


@cache
def source(name: str) -> str:
    """Return the text of `<name>.lua`."""
    return files(__name__).joinpath(f"{name}.lua").read_text()
