"""The benchmark reads how large our tables are."""

from bench.watching import MEGABYTE, sizes_mb
from tests.support.servers import connected
from tests.support.waiting import eventually

_FILL = """
CREATE SCHEMA readside;
CREATE UNLOGGED TABLE readside.filled (txid int PRIMARY KEY);
CREATE TABLE theirs (txid int);
INSERT INTO readside.filled SELECT generate_series(1, 10000);
INSERT INTO theirs SELECT generate_series(1, 100000);
"""
_EXPECTED = "SELECT pg_table_size('readside.filled') + pg_indexes_size('readside.filled')"


async def test_no_table_is_no_size(database_url: str) -> None:
    """Before anything is installed, and where what is installed has no table."""
    async with sizes_mb(database_url) as sizes:
        await eventually(lambda: bool(sizes), "a size was read")

    assert sizes[0][1] == 0


async def test_indexes_count_and_tables_of_others_do_not(database_url: str) -> None:
    """All that is ours, and nothing else."""
    async with connected(database_url) as connection:
        await connection.execute(_FILL)
        expected = await connection.fetchval(_EXPECTED)

    async with sizes_mb(database_url) as sizes:
        await eventually(lambda: bool(sizes), "a size was read")

    assert sizes[0][1] == expected / MEGABYTE
