"""Who holds the lead's lock: one of ours, or a stranger, and then what to do.

Any role that may connect to the database can take any advisory lock, ours too. What a session says of itself, its
`application_name`, anybody can copy; its role nobody can. So a holder counts as one of ours when it bears our name, and
has our role or a leader reports to our Redis, which a stranger with nothing but Postgres cannot write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from projector.tail.sql import statement
from readmodel.postgres.client import Connection

OUR_NAME = "readside-projector"
_SHOWN = 63
"""Characters of a name that is shown: PostgreSQL's own names are no longer."""


@dataclass(frozen=True, slots=True)
class LeadHolder:
    """A session, or a prepared transaction (`pid` None), that holds the lead's lock."""

    pid: int | None
    role: str | None
    application_name: str | None
    prepared: str | None
    is_our_role: bool
    database: str

    @classmethod
    def read(cls, row: asyncpg.Record) -> LeadHolder:
        """Take a row of lead_holders.sql."""
        return cls(
            row["pid"],
            row["role"],
            row["application_name"],
            row["prepared"],
            bool(row["is_our_role"]),
            row["database"],
        )

    def is_ours(self, *, reported: bool) -> bool:
        """Tell whether this may be a projector of ours; `reported`: a leader reports to our Redis."""
        return self.application_name == OUR_NAME and (self.is_our_role or reported)

    def sentence(self) -> str:
        """Name the holder, and say what to do."""
        role = _name(self.role)
        if self.pid is None:
            return (
                f"The lead's lock is held by the prepared transaction {_name(self.prepared)} of role {role}, which is "
                f"none of ours: ROLLBACK PREPARED ends it, as that role or a superuser; {self._lockout(role)}"
            )
        return (
            f"The lead's lock is held by server process {self.pid} of role {role} "
            f"(application_name {_name(self.application_name)}), which is no projector of ours: "
            f"SELECT pg_terminate_backend({self.pid}) ends it, as that role or a superuser; {self._lockout(role)}"
        )

    def _lockout(self, role: str) -> str:
        return f"REVOKE CONNECT ON DATABASE {self.database} keeps {role} out, where it should not be there at all."


async def lead_holders(connection: Connection, key: int) -> list[LeadHolder]:
    """Ask who holds the lead's lock; lets through what asyncpg raises."""
    return [LeadHolder.read(row) for row in await connection.fetch(statement("lead_holders"), key)]


def stranger(holders: Sequence[LeadHolder], *, reported: bool) -> str | None:
    """The sentence about the first holder that is none of ours; None where there is none."""
    return next((holder.sentence() for holder in holders if not holder.is_ours(reported=reported)), None)


def _name(text: str | None) -> str:
    """Show a name that a stranger chose: printable, short, and in quotes where it could be taken for our words."""
    if text is None:
        return "(unknown)"
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[:_SHOWN])
    return shown if shown.replace("_", "").replace("-", "").isalnum() else f"«{shown}»"
