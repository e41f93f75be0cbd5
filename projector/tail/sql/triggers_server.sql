-- Whether this server can hold the triggers at all.
SELECT current_setting('server_version_num')::int AS version,
       pg_is_in_recovery() AS in_recovery,
       coalesce(host(inet_server_addr()) || ':' || inet_server_port(), 'the local socket') AS address,
       current_setting('max_prepared_transactions')::int AS max_prepared_transactions,
       current_setting('readside.schemas')::text[] AS schemas
