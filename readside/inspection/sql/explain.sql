-- What Postgres holds of a session, and of one event wherever it is. $1 session, $2 event or NULL. Always one row.
-- clock_timestamp() is later than the snapshot, as now() may not be.
SELECT s.status, t.count, t.hi, t.lo, t.newest, t.unfit,
       found.session_id::text AS event_session, found.event_type, found.score, found.timestamp::text AS event_timestamp,
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now_us
FROM (SELECT $1::uuid AS id) wanted
LEFT JOIN sessions s ON s.id = wanted.id
CROSS JOIN LATERAL (
  SELECT count(*) AS count,
         coalesce(sum((:row_hash >> 32) & 4294967295), 0)::bigint AS hi,
         coalesce(sum(:row_hash & 4294967295), 0)::bigint AS lo,
         max(:score) AS newest, count(*) FILTER (WHERE :score IS NULL) AS unfit
  FROM events e WHERE e.session_id = wanted.id
) t
LEFT JOIN LATERAL (
  SELECT e.session_id, e.event_type, e.timestamp, :score AS score FROM events e WHERE e.id = $2::uuid
) found ON true
