"""The SQL that belongs to the projector alone: the triggers, and the queries that look at them."""

from importlib.resources import files


def statement(name: str) -> str:
    """Return the text of `<name>.sql`."""
    return files(__name__).joinpath(f"{name}.sql").read_text()
