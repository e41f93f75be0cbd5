-- What the headers of these sessions must say. $1 sessions.
SELECT s.id::text AS session_id, :status AS status, c.count, c.hi, c.lo,
       pg_catalog.pg_current_snapshot()::text AS snapshot
FROM pg_catalog.unnest($1::text[]::uuid[]) AS wanted (id)
JOIN :sessions s ON s.id = wanted.id
CROSS JOIN LATERAL (
  SELECT pg_catalog.count(*) AS count,
         coalesce(pg_catalog.sum((:row_hash >> 32) & 4294967295), 0)::bigint AS hi,
         coalesce(pg_catalog.sum(:row_hash & 4294967295), 0)::bigint AS lo
  FROM :events e WHERE e.session_id = s.id
) c
