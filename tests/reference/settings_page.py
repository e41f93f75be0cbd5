"""The page of settings, from readside/settings.py."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo

from readside.settings import PREFIX, Settings
from tests.reference.tables import code, table

UNITS = {"seconds": "seconds", "mb": "MB", "kb": "KiB"}
"""What the last word of a name says of its unit."""
HEAD = """# Settings

All settings are environment variables. Both processes and every command read them; each takes those that concern it.
An empty variable
counts as not set. `readside doctor` says which ones are wrong, and a variable that is no setting is named in a
warning.

1 MB is 1,000,000 bytes, 1 KiB is 1,024. – : no default. Projector and API should agree on all settings that both
read.

*This page is made from `readside/settings.py` by `make reference`.*

"""
TAIL = """
Pages that say more: [URLs of PostgreSQL](../operate/postgres.md#postgres-urls), [hot
standbys](../operate/postgres.md#hot-standbys),
[URLs of Redis](../operate/redis.md#redis-urls), [secrets in files](../operate/security.md#secrets-in-files),
[keys](../operate/security.md#keys), [tokens](../operate/security.md#tokens), [sizing](../operate/sizing.md).

## Variables of others

| name | meaning |
|---|---|
| `OTEL_EXPORTER_OTLP_ENDPOINT` | Where traces are sent, if `readside[otel]` is installed |
| `PGSSLMODE` | The `sslmode` of a Postgres URL that has none |
| `SSL_CERT_FILE` | A private authority for the JWKS behind `https://` |

A span is sent for each poll that leaves memory, each batch and each load. OpenTelemetry's other variables hold.
"""


def settings_page() -> str:
    """Write the page."""
    fields = {
        str(field.validation_alias or PREFIX + name.upper()): field for name, field in Settings.model_fields.items()
    }
    rows = (
        (code(name), _type(name, field), _default(field.default), str(field.description))
        for name, field in fields.items()
    )
    return HEAD + table(("name", "type", "default", "meaning"), rows) + TAIL


def _type(name: str, field: FieldInfo) -> str:
    """Say what a value is, its unit and its bounds."""
    annotation = field.annotation
    if type(None) in get_args(annotation):
        annotation = next(one for one in get_args(annotation) if one is not type(None))
    if get_origin(annotation) is Literal:
        return " or ".join(code(one) for one in get_args(annotation))
    kind = {str: "text", int: "whole number", float: "number", Path: "path"}[annotation]  # type: ignore[index]
    unit = UNITS.get(name.lower().rpartition("_")[2])
    return ", ".join([kind if unit is None else f"{kind} of {unit}", *_bounds(field.metadata)])


def _bounds(metadata: Iterable[object]) -> Iterable[str]:
    least = next((one for one in metadata if isinstance(one, annotated_types.Ge | annotated_types.Gt)), None)
    for one in metadata:
        if isinstance(one, annotated_types.Ge):
            yield f"{_number(one.ge)} or more"
        elif isinstance(one, annotated_types.Gt) and least is one:
            yield f"more than {_number(one.gt)}"
        elif isinstance(one, annotated_types.Le):
            yield f"at most {_number(one.le)}"
        elif isinstance(one, annotated_types.MaxLen):
            yield f"at most {one.max_length} characters"


def _default(default: object) -> str:
    if default in {"", None}:
        return "–"
    return code(f"{default:g}" if isinstance(default, float) else default)


def _number(bound: object) -> str:
    assert isinstance(bound, int | float)
    return f"{bound:,g}" if bound < 1e6 else f"{bound:,.0f}"
