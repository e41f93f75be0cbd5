"""The Lua scripts that only the leading projector runs: two of them alone change what is read."""

from functools import cache
from importlib.resources import files

from readmodel.view import scripts


@cache
def source(name: str) -> str:
    """Return the text of `<name>.lua`; some work on the type index too."""
    return (
        scripts.source(name, __name__)
        if name in {"apply", "served"}
        else files(__name__).joinpath(f"{name}.lua").read_text(encoding="utf-8")
    )
