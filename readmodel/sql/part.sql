-- The events that lie at these places, newest first, as columns. $1 places.
SELECT array_agg(r.id) AS ids, array_agg(r.score) AS scores, array_agg(r.event_type) AS types,
       array_agg(r.member) AS members
FROM (
  SELECT uuid_send(e.id) AS id, :score AS score, e.event_type, convert_to(:event_json, 'UTF8') AS member
  FROM events e WHERE e.ctid = ANY ($1::text[]::tid[]) ORDER BY e.timestamp DESC, e.id DESC
) r
