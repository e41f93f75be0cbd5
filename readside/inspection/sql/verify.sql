-- One session as the view must hold it: its newest events, and the totals. $1 session, $2 how many at most.
-- No row: no such session. One row without an id: a session without events.
-- A row's xmin changes whenever the row does. clock_timestamp() is later than the snapshot, as now() may not be.
SELECT :status AS status, s.xmin::text AS session_version, t.count, t.hi, t.lo, n.id, n.score, n.event_type, n.digest, n.version,
       (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000::numeric)::bigint AS now_us
FROM :sessions s
CROSS JOIN LATERAL (
  SELECT pg_catalog.count(*) AS count,
         coalesce(pg_catalog.sum((:row_hash >> 32) & 4294967295), 0)::bigint AS hi,
         coalesce(pg_catalog.sum(:row_hash & 4294967295), 0)::bigint AS lo
  FROM :events e WHERE e.session_id = s.id
) t
LEFT JOIN LATERAL (
  SELECT pg_catalog.uuid_send(e.id) AS id, :score AS score, e.event_type::text AS event_type,
         pg_catalog.decode(pg_catalog.md5(pg_catalog.convert_to(:event_json, 'UTF8')), 'hex') AS digest,
         e.xmin::text AS version
  FROM :events e WHERE e.session_id = s.id ORDER BY e.timestamp DESC, e.id DESC LIMIT $2
) n ON true
WHERE s.id = $1
