"""The Lua scripts that only the leading projector runs: they alone change the view."""

from functools import cache
from importlib.resources import files

from readmodel import scripts


@cache
def source(name: str) -> str:
    """Return the text of `<name>.lua`; `apply` works on the type index too."""
    return scripts.source(name, __name__) if name == "apply" else files(__name__).joinpath(f"{name}.lua").read_text()
