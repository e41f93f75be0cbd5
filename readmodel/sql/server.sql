-- Who answers here.
SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS in_recovery,
       pg_postmaster_start_time()::text AS started,
       :database AS database
