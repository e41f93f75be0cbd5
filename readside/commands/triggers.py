"""`readside install` and `readside uninstall`."""

from __future__ import annotations

import typer

from projector.tail import triggers
from readside.commands.stores import open_postgres
from readside.settings import Settings


async def install(settings: Settings) -> int:
    """Install the triggers and say what changed."""
    async with open_postgres(settings, owners_path=True) as connection:
        changed = await triggers.install(connection, warn=_warn)
    typer.echo("Installed the triggers." if changed else "The triggers are installed already; nothing was changed.")
    return 0


async def uninstall(settings: Settings) -> int:
    """Remove every trace and say what changed."""
    async with open_postgres(settings, owners_path=True) as connection:
        changed = await triggers.uninstall(connection)
    typer.echo("Removed the triggers and the schema readside." if changed else "There was nothing to remove.")
    return 0


def _warn(sentence: str) -> None:
    typer.echo(f"Warning: {sentence}", err=True)
