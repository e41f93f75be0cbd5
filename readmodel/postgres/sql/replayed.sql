-- How far this server has come in the log, in bytes. A statement of its own, before the poll: in one with it the snapshot
-- would come first, and might lack what was replayed in between.
SELECT pg_catalog.pg_is_in_recovery() AS in_recovery,
       (pg_catalog.pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint AS replayed
