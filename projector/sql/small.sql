-- A session's totals and events by type, as in totals.sql and part.sql, if it has $2 events and about $3 bytes of JSON at
-- most; else only that it is not `small`. No row when it does not exist. $1 session. One statement is one snapshot.
-- Sizes are told first, without reading what is stored out of line: a larger session is not rendered at all. What is short
-- where it is stored may be long as text all the same: past $3 bytes of a type there are no `words`.
WITH look AS MATERIALIZED (
  SELECT pg_catalog.count(*) <= $2::bigint AND coalesce(pg_catalog.sum(:size), 0) <= $3::bigint AS small
  FROM (SELECT e.message, e.event_data FROM :events e
        -- Hidden from the planner: for the newest, largest session it would read the whole table up to it.
        WHERE e.session_id = (SELECT $1::uuid) LIMIT $2::bigint + 1) e
)
SELECT :status AS status, pg_catalog.pg_current_snapshot()::text AS snapshot, look.small, g.event_type,
       g.count, g.bytes, g.newest, g.lowest, g.entries, g.hi, g.lo, g.unscored,
       CASE WHEN look.small THEN :repeated END AS repeated,
       CASE WHEN g.bytes <= $3::bigint THEN g.words END AS words
FROM :sessions s CROSS JOIN look LEFT JOIN (
  :rendered,
    pg_catalog.sum((r.hash >> 32) & 4294967295)::bigint AS hi,
    pg_catalog.sum(r.hash & 4294967295)::bigint AS lo,
    pg_catalog.count(*) - pg_catalog.count(CASE WHEN r.member IS NOT NULL THEN r.score END) AS unscored
  FROM (SELECT m.*, :octets AS octets
        FROM (SELECT e.id, :event_type AS event_type, :row_hash AS hash, :score AS score,
                     :event_json AS member
              FROM :events e WHERE e.session_id = $1 OFFSET 0) m) r -- so that hash, score and member are computed once
  WHERE (SELECT look.small FROM look)
  GROUP BY r.event_type
) g ON true
WHERE s.id = $1
