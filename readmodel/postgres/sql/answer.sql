-- One poll, whole, in one statement (one snapshot).
-- $1 session, $2 since µs or NULL, $3 types or NULL, $4 limit, $5 offset, $6 bytes a page may have.
-- Where steps are asked for they are one parameter more, of a statement of its own: its plan may use their index.
-- `forth` and `back` are DESC and ASC, or the other way round where the oldest come first.
-- `in_recovery` and `timeline` are looked at after the snapshot was taken. The timeline is that of a hot standby's WAL
-- receiver, which replay never is ahead of; nothing of a primary's.
-- now() is the as-of: statement_timestamp() is later than the snapshot in the extended protocol.
-- Only ids and instants are sorted, and from the nearer end: a page costs the more the nearer it is to the middle, and
-- one past the end sorts nothing. (A LIMIT of 0 runs nothing of what is below it.)
-- A page is rendered twenty events at a time and no further than the bound: a thousand of 1 MB took 10 s to measure.
WITH RECURSIVE matching AS MATERIALIZED (
  SELECT :key AS id, e.timestamp FROM :events e
  WHERE e.session_id = $1
    AND ($2::bigint IS NULL OR e.timestamp > :since)
    AND ($3::text[] IS NULL OR :event_type = ANY ($3))
    AND (e.id = NULL::uuid) IS NULL -- costs nothing, and fails where ids are of a type that sorts otherwise
    :of_steps
), counted AS MATERIALIZED (
  SELECT c.total, $5::bigint > c.total - $5::bigint - $4::bigint AS is_late
  FROM (SELECT pg_catalog.count(*) AS total FROM matching) c
), page AS MATERIALIZED (
  SELECT m.id, m.timestamp, pg_catalog.row_number() OVER (ORDER BY m.timestamp :forth, m.id :forth) AS place
  FROM (
    (SELECT id, timestamp FROM matching ORDER BY timestamp :forth, id :forth
     LIMIT (SELECT CASE WHEN is_late THEN 0::bigint ELSE $4::bigint END FROM counted) OFFSET $5::bigint)
    UNION ALL
    (SELECT id, timestamp FROM matching ORDER BY timestamp :back, id :back
     LIMIT (SELECT CASE WHEN is_late THEN greatest(0::bigint, least($4::bigint, total - $5::bigint)) ELSE 0::bigint END
            FROM counted)
     OFFSET (SELECT greatest(0::bigint, total - $5::bigint - $4::bigint) FROM counted))
  ) m
), parts (taken, length, fitting, unreadable, members) AS (
  SELECT 0, 0::bigint, 0::bigint, 0::bigint, NULL::text
  UNION ALL
  SELECT p.taken + 20, part.length, part.fitting, part.unreadable, part.members
  FROM parts p CROSS JOIN LATERAL (
    SELECT pg_catalog.max(measured.length) AS length,
           pg_catalog.count(*) FILTER (WHERE measured.length <= $6) AS fitting,
           pg_catalog.count(*) FILTER (WHERE measured.member IS NULL) AS unreadable,
           pg_catalog.string_agg(measured.member, ',' ORDER BY measured.place)
             FILTER (WHERE measured.length <= $6) AS members
    FROM (
      SELECT place, member,
             p.length + (pg_catalog.sum(coalesce(pg_catalog.octet_length(member), 0) + 1) OVER (ORDER BY place))::bigint AS length
      FROM (
        SELECT place, (SELECT :event_json FROM :events e WHERE :at_key) AS member
        FROM page WHERE place > p.taken AND place <= p.taken + 20
        OFFSET 0 -- each event is rendered once
      ) rendered
    ) measured
    HAVING pg_catalog.count(*) > 0
  ) part
  WHERE p.length <= $6
)
SELECT (SELECT :status FROM :sessions s WHERE s.id = $1) AS status,
       (SELECT total FROM counted) AS total,
       (extract(epoch FROM pg_catalog.now()) * 1000000::numeric)::bigint AS as_of_us,
       pg_catalog.pg_is_in_recovery() AS in_recovery,
       :timeline AS timeline,
       :database AS database,
       :visible AS visible,
       (SELECT pg_catalog.count(*) FROM page) AS asked,
       pg_catalog.sum(fitting)::bigint AS fitting,
       pg_catalog.sum(unreadable)::bigint AS unreadable,
       coalesce(pg_catalog.string_agg(members, ',' ORDER BY taken), '') AS page
FROM parts
