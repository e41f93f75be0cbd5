-- Who holds locks on these tables ($1), but for the modes that do not matter ($2); the oldest transactions first.
SELECT format('process %s (%s, %s)', locks.pid, coalesce(nullif(activity.application_name, ''), 'no application name'),
              coalesce(extract(epoch FROM clock_timestamp() - activity.xact_start)::int || ' s old', 'prepared')) AS blocker
  FROM pg_locks AS locks
  LEFT JOIN pg_stat_activity AS activity ON activity.pid = locks.pid
 WHERE locks.locktype = 'relation' AND locks.granted
   AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND locks.relation = ANY ($1::oid[])
   AND locks.mode <> ALL ($2::text[])
   AND locks.pid IS DISTINCT FROM pg_backend_pid()
 GROUP BY locks.pid, activity.application_name, activity.xact_start
 ORDER BY activity.xact_start NULLS FIRST
 LIMIT 3
