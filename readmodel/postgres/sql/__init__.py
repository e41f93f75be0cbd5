"""The SQL statements that both processes send.

`:events` and `:sessions` stand for the tables, `:events_name` and `:sessions_name` for their names as text, and
`:event_json`, `:row_hash` and the like for the shared expressions.
Every function is named with its schema, and every operator gets the very types that pg_catalog has it for: nothing in
a search_path can then take their place, not even where a pooler keeps us from setting ours.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

_SHARED = (
    "at_key",
    "database",
    "event_json",
    "event_type",
    "instant",
    "key",
    "receiver",
    "row_hash",
    "score",
    "since",
    "status",
    "visible",
    "writer",
)
_MARK = re.compile(r"(?<!:):([a-z_]+)\b")


@dataclass(frozen=True, slots=True)
class Tables:
    """The write side's tables as statements name them: with their schemas, quoted.

    `partitioned`: events has partitions. An id may be there twice then, and a place of a row once in each of them.
    """

    sessions: str
    events: str
    partitioned: bool = False

    @classmethod
    def within(cls, sessions_schema: str, events_schema: str, *, partitioned: bool = False) -> "Tables":
        """Name the two tables of these schemas."""
        return cls(f"{_quoted(sessions_schema)}.sessions", f"{_quoted(events_schema)}.events", partitioned)


def literal(text: str) -> str:
    """Write a text into a statement; one without backslashes means the same under every setting."""
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


@lru_cache(maxsize=256)
def statement(
    name: str,
    tables: Tables | None = None,
    package: str = __name__,
    own: Sequence[str] = (),
    words: tuple[tuple[str, str], ...] = (),
) -> str:
    """Return the text of a package's `<name>.sql`, with the tables and the expressions, its `own` and shared, in place.

    `words` are marks and what they stand for. Of an expression `<word>` that has a `<word>_partitioned.sql` beside it,
    partitioned tables get that one. Raises ValueError for a statement that names tables where none are given.
    """
    given, partitioned = dict(words), tables is not None and tables.partitioned

    def fill(mark: re.Match[str]) -> str:
        word = mark[1]
        if word in given:
            return given[word]
        if word in {"sessions", "events", "sessions_name", "events_name"}:
            if tables is None:
                raise ValueError(f"{name}.sql names the tables")
            table = tables.sessions if word.startswith("sessions") else tables.events
            return literal(table) if word.endswith("_name") else table
        home = package if word in own else __name__ if word in _SHARED else None
        if home is None:
            return mark[0]
        variant = f"{word}_partitioned"
        return _MARK.sub(fill, _read(home, variant if partitioned and _is_there(home, variant) else word).rstrip())

    return _MARK.sub(fill, _read(package, name))


def _is_there(package: str, name: str) -> bool:
    return files(package).joinpath(f"{name}.sql").is_file()


def _read(package: str, name: str) -> str:
    return files(package).joinpath(f"{name}.sql").read_text(encoding="utf-8")
