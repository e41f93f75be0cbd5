"""`readside install` and `readside uninstall`."""

from __future__ import annotations

from projector.tail import triggers
from readmodel.postgres.client import translated
from readside.commands.stores import open_postgres
from readside.commands.terminal import tell
from readside.settings import Settings

_READABLE = """
SELECT count(pg_sequence_last_value(format('%I.%I', $1::text, name)::regclass))
FROM unnest(ARRAY['presence', 'skips', 'reader', 'incarnation']) name
"""
_STANDBYS = "SELECT count(*) FROM pg_stat_replication"
# PostgreSQL replays the making of an unlogged sequence in memory alone, and copies it from the disk at a promotion.
_PROMOTION = (
    "There are standbys. One that is promoted before its next restartpoint could not read our new sequences, and "
    "writers would fail there: run CHECKPOINT here, then on each standby."
)


async def install(settings: Settings, role: str | None = None) -> int:
    """Install the triggers, grant `role` what it needs, and say what changed."""
    schema, doorbell = settings.database_schema, settings.doorbell == "on"
    async with open_postgres(settings, owners_path=True) as connection:
        with translated(settings.require_database_url()):
            changed = await triggers.install(connection, warn=_warn, schema=schema, role=role, doorbell=doorbell)
            await connection.fetchval(_READABLE, schema)
            if changed and await connection.fetchval(_STANDBYS):
                _warn(_PROMOTION)
    tell("Installed the triggers." if changed else "The triggers are installed already; nothing was changed.")
    return 0


async def uninstall(settings: Settings) -> int:
    """Remove every trace and say what changed."""
    async with open_postgres(settings, owners_path=True) as connection:
        with translated(settings.require_database_url()):
            changed = await triggers.uninstall(connection, schema=settings.database_schema)
    removed = f"Removed the triggers and the schema {settings.database_schema}."
    tell(removed if changed else "There was nothing to remove.")
    return 0


def _warn(sentence: str) -> None:
    tell(f"Warning: {sentence}", err=True)
