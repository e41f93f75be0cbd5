-- Where a session's newest events lie, newest first, in parts of about $3 bytes. $1 session, $2 how many at most.
-- Sizes are known without reading what is stored out of line: a compressed value counts twenty-fold. A row's place is its
-- place for as long as the snapshot lasts, and leads to it faster than its id.
SELECT pg_catalog.array_agg(n.place::text ORDER BY n.reached) AS places
FROM (
  SELECT o.place, pg_catalog.sum(o.size) OVER (ORDER BY o.timestamp DESC, o.id DESC) AS reached
  FROM (
    SELECT :place AS place, e.id, e.timestamp, :size AS size
    FROM :events e WHERE e.session_id = $1 ORDER BY e.timestamp DESC, e.id DESC LIMIT $2
  ) o
) n
GROUP BY pg_catalog.div(n.reached, $3::bigint) ORDER BY pg_catalog.div(n.reached, $3::bigint)
