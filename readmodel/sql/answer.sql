-- One poll, whole, in one statement (one snapshot).
-- $1 session, $2 since µs or NULL, $3 types or NULL, $4 limit, $5 offset, $6 bytes a page may have.
-- now() is the as-of: statement_timestamp() is later than the snapshot in the extended protocol.
WITH matching AS MATERIALIZED (
  SELECT e.id, e.timestamp FROM events e
  WHERE e.session_id = $1
    AND ($2::bigint IS NULL OR e.timestamp > :since)
    AND ($3::text[] IS NULL OR e.event_type = ANY ($3))
), page AS MATERIALIZED (
  SELECT m.id FROM matching m ORDER BY m.timestamp DESC, m.id DESC LIMIT $4 OFFSET $5
), rendered AS MATERIALIZED (
  SELECT e.timestamp, e.id, :event_json AS member FROM events e WHERE e.id IN (SELECT id FROM page)
), measured AS (
  SELECT r.*, sum(octet_length(r.member)::bigint + 1) OVER (ORDER BY r.timestamp DESC, r.id DESC) AS length
  FROM rendered r
)
SELECT (SELECT s.status FROM sessions s WHERE s.id = $1) AS status,
       (SELECT count(*) FROM matching) AS total,
       (extract(epoch FROM now()) * 1000000)::bigint AS as_of_us,
       pg_is_in_recovery() AS in_recovery,
       (SELECT count(*) FROM page) AS asked,
       count(*) FILTER (WHERE m.length <= $6) AS fitting,
       coalesce(string_agg(m.member, ',' ORDER BY m.timestamp DESC, m.id DESC) FILTER (WHERE m.length <= $6), '') AS page
FROM measured m
