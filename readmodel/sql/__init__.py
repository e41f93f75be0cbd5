"""The SQL statements that both processes send; `:event_json`, `:row_hash` and the like are the shared expressions."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

_SHARED = ("database", "event_json", "row_hash", "score", "since")


@cache
def statement(name: str, package: str = __name__, own: Sequence[str] = ()) -> str:
    """Return the text of a package's `<name>.sql`: first its `own` expressions, then the shared ones, in place."""
    text = files(package).joinpath(f"{name}.sql").read_text()
    for home, names in ((package, own), (__name__, _SHARED)):
        for shared in names:
            text = text.replace(f":{shared}", files(home).joinpath(f"{shared}.sql").read_text().rstrip())
    return text
