-- What comes next in a session's stream, in one statement (one snapshot). $4 events, $5 bytes that they may have.
-- `in_recovery` is looked at after the snapshot was taken. now() is the as-of, as in answer.sql, and rendering goes as there.
-- `place` is the last event that is given: behind it a page may end. Two events of one id and instant, as partitions allow,
-- stand on one page. `asked` is one more than a page where there are more.
WITH RECURSIVE :fresh, page AS MATERIALIZED (
  SELECT f.id, f.event_id, f.timestamp, f.instant, pg_catalog.row_number() OVER w AS place,
         (pg_catalog.lead(f.event_id) OVER w = f.event_id AND pg_catalog.lead(f.instant) OVER w = f.instant) IS NOT true AS ends
  FROM (SELECT id, event_id, timestamp, instant FROM fresh ORDER BY instant, event_id, id LIMIT $4::bigint + 1::bigint) f
  WINDOW w AS (ORDER BY f.instant, f.event_id, f.id)
), parts (taken, length, fitting, unreadable, members) AS (
  SELECT 0, 0::bigint, 0::bigint, 0::bigint, NULL::text
  UNION ALL
  SELECT p.taken + 20, part.length, part.fitting, part.unreadable, part.members
  FROM parts p CROSS JOIN LATERAL (
    SELECT pg_catalog.max(measured.length) AS length,
           pg_catalog.count(*) FILTER (WHERE measured.length <= $5) AS fitting,
           pg_catalog.count(*) FILTER (WHERE measured.member IS NULL) AS unreadable,
           pg_catalog.string_agg(measured.member, pg_catalog.chr(10) ORDER BY measured.place)
             FILTER (WHERE measured.length <= $5) AS members
    FROM (
      SELECT place, member,
             p.length + (pg_catalog.sum(coalesce(pg_catalog.octet_length(member), 0) + 1) OVER (ORDER BY place))::bigint AS length
      FROM (
        SELECT place, (SELECT :event_json FROM :events e WHERE :at_key) AS member
        FROM page WHERE place > p.taken AND place <= p.taken + 20 AND place <= $4::bigint
        OFFSET 0 -- each event is rendered once
      ) rendered
    ) measured
    HAVING pg_catalog.count(*) > 0
  ) part
  WHERE p.length <= $5
), got AS (
  SELECT pg_catalog.sum(fitting)::bigint AS fitting, pg_catalog.sum(unreadable)::bigint AS unreadable,
         coalesce(pg_catalog.string_agg(members, pg_catalog.chr(10) ORDER BY taken), '') AS events
  FROM parts
)
SELECT :about, got.fitting, got.unreadable, got.events,
       (SELECT pg_catalog.count(*) FROM page) AS asked,
       coalesce(last.place, 0::bigint) AS place, last.event_id,
       (extract(epoch FROM last.instant) * 1000000::numeric)::bigint AS timestamp_us
FROM got LEFT JOIN LATERAL (
  SELECT page.place, page.event_id, page.instant FROM page
  WHERE page.place <= got.fitting AND page.ends ORDER BY page.place DESC LIMIT 1
) last ON true
