"""The schema in which ours is installed: what it may be called."""

from __future__ import annotations

import re

SCHEMA = "readside"
"""Where ours is installed unless READSIDE_SCHEMA says otherwise."""
SCHEMA_NAME = (
    "it must be a plain name (a-z, 0-9 and _, 41 at most, no digit first) and not public, information_schema or pg_…"
)


def is_schema_name(name: str) -> bool:
    """Tell whether a schema of ours may be called so: it stands in triggers' names, and is the doorbell's channel."""
    return re.fullmatch(r"(?!pg_|(?:public|information_schema)\Z)[a-z_][a-z0-9_]{0,40}", name) is not None
