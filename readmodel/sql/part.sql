-- The events that lie at these places, by type, the newest whose JSON fits into $2 bytes together. $1 places.
-- `words` are scores and JSON as ZADD's arguments in Redis' protocol, `entries` those of the type index, in any order.
:rendered
FROM (
  SELECT m.*, sum(octet_length(m.member)) OVER (ORDER BY m.timestamp DESC, m.id DESC ROWS UNBOUNDED PRECEDING) AS reached
  FROM (SELECT e.*, :score AS score, convert_to(:event_json, 'UTF8') AS member
        FROM events e WHERE e.ctid = ANY ($1::text[]::tid[])) m
) r
WHERE r.reached <= $2
GROUP BY r.event_type
