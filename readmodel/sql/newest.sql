-- A session's events, newest first, each rendered when it is fetched. $1 session, $2 how many at most, $3 bytes a fetch.
-- `ahead`: how many of the events after this one are about $3 bytes together. Their sizes are known without reading what
-- is stored out of line: a compressed value counts twenty-fold. (A sort above the rendering had all of it done first.)
SELECT uuid_send(n.id) AS id, n.score, n.event_type, n.ahead,
       (SELECT convert_to(:event_json, 'UTF8') FROM events e WHERE e.id = n.id) AS member
FROM (
  SELECT s.*, count(*) OVER (ORDER BY s.reached RANGE BETWEEN CURRENT ROW AND $3::bigint FOLLOWING) - 1 AS ahead
  FROM (
    SELECT o.*, sum(o.size) OVER (ORDER BY o.timestamp DESC, o.id DESC) AS reached
    FROM (
      SELECT e.id, e.timestamp, e.event_type, :score AS score, 300 + coalesce(octet_length(e.message), 0)
             + least(pg_column_size(e.event_data), 50000000) * CASE WHEN pg_column_compression(e.event_data) IS NULL THEN 1 ELSE 20 END AS size
      FROM events e WHERE e.session_id = $1 ORDER BY e.timestamp DESC, e.id DESC LIMIT $2
    ) o
  ) s
) n
ORDER BY n.reached
