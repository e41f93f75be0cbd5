"""The settings that every connection of ours begins with, so that those of a database, a role or a URL change nothing.

They go as startup parameters: these come after `ALTER DATABASE … SET` and `ALTER ROLE … SET`, and last as long as the
connection. A transaction pooler lends a connection to one client after another. It refuses parameters that it does not
keep track of. Then, and only then, a connection begins with TRACKED alone, and relies on what the statements themselves
say: casts, and names with their schemas. Nothing is ever SET by statement: the pooler would lend that to others.

Left to the owners: costs and memory of the planner (they are tuned to a machine), `role` (it may be how we get our
rights), and what only a superuser may set.
"""

from __future__ import annotations

from collections.abc import Mapping

TRACKED: Mapping[str, str] = {
    "timezone": "UTC",  # instants as text, and those read from text without an offset
    "datestyle": "ISO, MDY",  # instants as text: infinity, and years that to_char cannot print
}
"""PgBouncer sends these along when it lends us a connection."""

_READING: Mapping[str, str] = {
    # How values are written as text and read from it.
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "array_nulls": "on",
    "xmlbinary": "base64",
    "xmloption": "content",
    "quote_all_identifiers": "off",  # names of types that we compare: format_type gives `uuid` or `"uuid"`
    # How the text of a statement is understood.
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "transform_null_equals": "off",
    # What a transaction sees and may do. An as-of is the instant of one statement's snapshot.
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",  # `install` writes, and so does the leader
    "default_transaction_deferrable": "off",  # it waits for other transactions to end
    "row_security": "on",  # off, a hidden row is an error in mid-read; we look beforehand whether any is hidden
}

_LASTING: Mapping[str, str] = {
    # What ends a statement or a connection. Each of ours has its own time, kept by us.
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",  # a leader's connection and a pool's rest
    "exit_on_error": "off",
    "client_min_messages": "warning",  # at `debug5` each statement sends a page of them
}

_PLANNING: Mapping[str, str] = {
    # A plan of ours looks up a session's events by an index. Without it each poll reads the whole table.
    "jit": "off",  # compiling costs more than a short statement
    "plan_cache_mode": "auto",
    # A parallel worker begins with the settings of database and role, and a transaction_timeout there ends it.
    "max_parallel_workers_per_gather": "0",
    **dict.fromkeys(
        (
            "enable_bitmapscan",
            "enable_hashagg",
            "enable_hashjoin",
            "enable_incremental_sort",
            "enable_indexonlyscan",
            "enable_indexscan",
            "enable_material",
            "enable_memoize",
            "enable_mergejoin",
            "enable_nestloop",
            "enable_seqscan",
            "enable_sort",
            "enable_tidscan",
        ),
        "on",
    ),
}

_INSTALLING: Mapping[str, str] = {
    # What `install` makes, and whether its functions are looked at when they are made.
    "check_function_bodies": "on",
    "default_table_access_method": "heap",
    "default_tablespace": "",
}

FIXED: Mapping[str, str] = {**TRACKED, **_READING, **_LASTING, **_PLANNING, **_INSTALLING}
"""Every server from 15 on knows these."""

NEWER: Mapping[str, tuple[int, str]] = {
    "transaction_timeout": (17, "0"),
}
"""What came later: since which version, and the value. An older server refuses the connection for it."""

OWN_PATH: Mapping[str, str] = {"search_path": "pg_catalog, pg_temp"}
"""For every connection that need not find the tables as their owners do. What is in pg_temp comes last."""
