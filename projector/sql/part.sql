-- The events that lie at these places, by type, the newest whose JSON fits into $2 bytes together. $1 places.
-- `words` are scores and JSON as ZADD's arguments in Redis' protocol, `entries` those of the type index, in any order.
:rendered
FROM (
  SELECT o.*, pg_catalog.sum(o.octets) OVER (ORDER BY o.timestamp DESC, o.id DESC ROWS UNBOUNDED PRECEDING) AS reached
  FROM (SELECT m.*, :octets AS octets
        FROM (SELECT e.id, e.timestamp, :event_type AS event_type, :score AS score, :event_json AS member
              FROM :events e WHERE :at_places OFFSET 0) m) o
) r
WHERE r.reached <= $2
GROUP BY r.event_type
