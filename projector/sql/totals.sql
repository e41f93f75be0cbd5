-- A session's totals, all and per type; no row when the session does not exist. $1 session.
-- `unscored` are events that a view cannot hold; `size` is about how long its events' JSON is, told without reading what is stored out of line.
SELECT :status AS status, :repeated AS repeated, pg_catalog.pg_current_snapshot()::text AS snapshot, :event_type AS event_type, pg_catalog.count(e.id) AS count,
       coalesce(pg_catalog.sum((:row_hash >> 32) & 4294967295), 0)::bigint AS hi,
       coalesce(pg_catalog.sum(:row_hash & 4294967295), 0)::bigint AS lo,
       pg_catalog.count(e.id) FILTER (WHERE :score IS NULL OR e.event_type IS NULL OR e.event_data IS NULL) AS unscored,
       coalesce(pg_catalog.sum(:size) FILTER (WHERE e.id IS NOT NULL), 0)::bigint AS size
FROM :sessions s LEFT JOIN :events e ON e.session_id = s.id
WHERE s.id = $1
GROUP BY :status, :event_type
