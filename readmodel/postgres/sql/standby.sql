-- Whether this server may answer as a hot standby: a WAL receiver without a timeline is one that our role may not look at.
SELECT pg_catalog.current_setting('server_version_num')::int AS version,
       pg_catalog.pg_is_in_recovery() AS in_recovery,
       (pg_catalog.pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint AS replayed,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_wal_receiver) AS receivers,
       :receiver AS timeline,
       :database AS database
