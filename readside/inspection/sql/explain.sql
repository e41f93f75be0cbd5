-- What Postgres holds of a session, and of one event wherever it is. $1 session, $2 event or NULL. Always one row.
-- clock_timestamp() is later than the snapshot, as now() may not be.
SELECT CASE WHEN s.id IS NOT NULL THEN :status END AS status, t.count, t.hi, t.lo, t.newest, t.unfit,
       found.session_id::text AS event_session, found.event_type, found.score, found.event_timestamp,
       (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000::numeric)::bigint AS now_us
FROM (SELECT $1::uuid AS id) wanted
LEFT JOIN :sessions s ON s.id = wanted.id
CROSS JOIN LATERAL (
  SELECT pg_catalog.count(*) AS count,
         coalesce(pg_catalog.sum((:row_hash >> 32) & 4294967295), 0)::bigint AS hi,
         coalesce(pg_catalog.sum(:row_hash & 4294967295), 0)::bigint AS lo,
         pg_catalog.max(:score) AS newest, pg_catalog.count(*) FILTER (WHERE :score IS NULL) AS unfit
  FROM :events e WHERE e.session_id = wanted.id
) t
LEFT JOIN LATERAL (
  SELECT e.session_id, e.timestamp::text AS event_timestamp, :score AS score,
         CASE WHEN pg_catalog.getdatabaseencoding() = 'UTF8'::name THEN e.event_type::text -- else it may hold any bytes
              ELSE pg_catalog.encode(pg_catalog.convert_to(e.event_type::text, 'SQL_ASCII'), 'escape') END AS event_type
  FROM :events e WHERE e.id = $2::uuid
  ORDER BY e.session_id = wanted.id DESC LIMIT 1 -- in a partitioned table an id may be there twice
) found ON true
