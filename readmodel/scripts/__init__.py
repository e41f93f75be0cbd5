"""The Lua scripts: all that reads or changes the view in more than one key."""

from functools import cache
from importlib.resources import files


@cache
def source(name: str, package: str = __name__) -> str:
    """Return the text of a package's `<name>.lua`, after that of `index.lua`: what works on the type index."""
    return f"{files(__name__).joinpath('index.lua').read_text()}{files(package).joinpath(f'{name}.lua').read_text()}"
