"""The SQL statements that read the event log; `:event_json`, `:row_hash` and the like are the shared expressions."""

from functools import cache
from importlib.resources import files


@cache
def statement(name: str) -> str:
    """Return the text of `<name>.sql` with the shared expressions in place."""
    folder = files(__name__)
    text = folder.joinpath(f"{name}.sql").read_text()
    for shared in ("rendered", "named", "octets", "size", "database", "event_json", "row_hash", "score", "since"):
        text = text.replace(f":{shared}", folder.joinpath(f"{shared}.sql").read_text().rstrip())
    return text
