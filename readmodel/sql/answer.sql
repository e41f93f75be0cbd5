-- One poll, whole, in one statement (one snapshot).
-- $1 session, $2 since µs or NULL, $3 types or NULL, $4 limit, $5 offset, $6 bytes a page may have.
-- now() is the as-of: statement_timestamp() is later than the snapshot in the extended protocol.
-- A page is rendered twenty events at a time and no further than the bound: a thousand of 1 MB took 10 s to measure.
WITH RECURSIVE matching AS MATERIALIZED (
  SELECT e.id, e.timestamp FROM events e
  WHERE e.session_id = $1
    AND ($2::bigint IS NULL OR e.timestamp > :since)
    AND ($3::text[] IS NULL OR e.event_type = ANY ($3))
), page AS MATERIALIZED (
  SELECT m.id, row_number() OVER (ORDER BY m.timestamp DESC, m.id DESC) AS place
  FROM (SELECT id, timestamp FROM matching ORDER BY timestamp DESC, id DESC LIMIT $4 OFFSET $5) m
), parts (taken, length, fitting, members) AS (
  SELECT 0, 0::bigint, 0::bigint, NULL::text
  UNION ALL
  SELECT p.taken + 20, part.length, part.fitting, part.members
  FROM parts p CROSS JOIN LATERAL (
    SELECT max(measured.length) AS length,
           count(*) FILTER (WHERE measured.length <= $6) AS fitting,
           string_agg(measured.member, ',' ORDER BY measured.place) FILTER (WHERE measured.length <= $6) AS members
    FROM (
      SELECT place, member, p.length + (sum(octet_length(member) + 1) OVER (ORDER BY place))::bigint AS length
      FROM (
        SELECT place, (SELECT :event_json FROM events e WHERE e.id = page.id) AS member
        FROM page WHERE place > p.taken AND place <= p.taken + 20
        OFFSET 0 -- each event is rendered once
      ) rendered
    ) measured
    HAVING count(*) > 0
  ) part
  WHERE p.length <= $6
)
SELECT (SELECT s.status FROM sessions s WHERE s.id = $1) AS status,
       (SELECT count(*) FROM matching) AS total,
       (extract(epoch FROM now()) * 1000000)::bigint AS as_of_us,
       pg_is_in_recovery() AS in_recovery,
       :database AS database,
       (SELECT count(*) FROM page) AS asked,
       sum(fitting)::bigint AS fitting,
       coalesce(string_agg(members, ',' ORDER BY taken), '') AS page
FROM parts
