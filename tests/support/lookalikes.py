"""A schema of functions and operators named as those that we use, for types that ours take only by a cast.

Any of them fails where it runs. Postgres prefers a match of the very types to one by a cast, whatever schema it is in.
"""

import itertools
import re
from importlib.resources import files

import asyncpg

SCHEMA = "lookalikes"
_OPERATORS = ("||", "=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "&", "|", ">>", "<<")
_TYPES = (
    *("text", "varchar", "bpchar", "name", '"char"', "int2", "int4", "int8", "float8", "numeric", "bool", "uuid"),
    *("jsonb", "json", "timestamptz", "timestamp", "interval", "oid", "xid", "tid", "bytea", "text[]", "uuid[]"),
)
_NAME = re.compile(r"\bpg_catalog\.(\w+)\(")


def names() -> list[str]:
    """The functions that our statements call."""
    found: set[str] = set()
    for package in ("readmodel.postgres.sql", "projector.sql", "readside.inspection.sql"):
        for file in files(package).iterdir():
            if file.name.endswith(".sql"):
                found.update(_NAME.findall(file.read_text()))
    return sorted(found)


async def make_lookalikes(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Make them, in a schema that no search_path names yet."""
    called, pairs = names(), list(itertools.product(_TYPES, repeat=2))
    twos = await connection.fetch(
        "SELECT DISTINCT proname FROM pg_proc WHERE pronargs = 2 AND proname = ANY ($1::text[]::name[])", called
    )
    await connection.execute(
        ";".join(
            (
                f"CREATE SCHEMA {SCHEMA}; SET check_function_bodies = off",
                *(_function(name, one) for name in called for one in _TYPES),
                *(_function(row["proname"], *pair) for row in twos for pair in pairs),
                *(_function("fails", *pair) for pair in pairs),
                *(_operator(symbol, *pair) for symbol in _OPERATORS for pair in pairs),
                "RESET check_function_bodies",
            )
        )
    )


async def put_first(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Have new connections to this database find them first."""
    database = await connection.fetchval("SELECT pg_catalog.quote_ident(pg_catalog.current_database())")
    await connection.execute(f"ALTER DATABASE {database} SET search_path = {SCHEMA}, public")


def _function(name: str, *types: str) -> str:
    body = "BEGIN RAISE 'a look-alike ran'; END"
    return f"CREATE FUNCTION {SCHEMA}.{name}({', '.join(types)}) RETURNS text LANGUAGE plpgsql AS $${body}$$"


def _operator(symbol: str, left: str, right: str) -> str:
    return f"CREATE OPERATOR {SCHEMA}.{symbol} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = {SCHEMA}.fails)"
