-- Who holds the lead's lock ($1), shared or not. A prepared transaction may hold it too: it has no process.
-- Everybody sees the pid, the role and the application_name of every session; address and statement only its own role's.
SELECT l.pid,
       coalesce(a.usename, p.owner)::text AS role,
       a.application_name,
       p.gid::text AS prepared,
       coalesce(a.usename, p.owner) = current_user AS is_our_role,
       (SELECT datname::text FROM pg_catalog.pg_database WHERE oid = l.database) AS database
FROM pg_catalog.pg_locks AS l
LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
LEFT JOIN pg_catalog.pg_locks AS x -- a prepared transaction's own lock names it
  ON l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid' AND x.virtualtransaction = l.virtualtransaction
LEFT JOIN pg_catalog.pg_prepared_xacts AS p ON p.transaction = x.transactionid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND (l.classid::bigint << 32) | l.objid::bigint = $1
  AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
ORDER BY l.pid
