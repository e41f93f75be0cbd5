"""The event log in Postgres: connections, the two tables as they are found, and reads of them."""
