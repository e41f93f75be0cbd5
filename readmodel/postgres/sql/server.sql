-- Who answers here.
SELECT pg_catalog.current_setting('server_version_num')::int AS version, pg_catalog.pg_is_in_recovery() AS in_recovery,
       pg_catalog.pg_postmaster_start_time()::text AS started,
       :database AS database
