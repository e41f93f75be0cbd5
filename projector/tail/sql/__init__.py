"""The SQL that belongs to the tail alone: the triggers, and the queries that look at them."""

from functools import lru_cache
from importlib.resources import files


@lru_cache(maxsize=256)
def statement(name: str, **markers: str) -> str:
    """Return the text of `<name>.sql`, with each `{marker}` in it replaced."""
    text = files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
    for marker, value in markers.items():
        text = text.replace(f"{{{marker}}}", value)
    return text
