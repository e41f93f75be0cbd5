-- Which events a poll's page holds, newest first; nothing of them is rendered.
-- $1 session, $2 since µs or NULL, $3 types or NULL, $4 limit, $5 offset.
SELECT e.id FROM :events e
WHERE e.session_id = $1
  AND ($2::bigint IS NULL OR e.timestamp > :since)
  AND ($3::text[] IS NULL OR :event_type = ANY ($3))
ORDER BY e.timestamp DESC, e.id DESC LIMIT $4 OFFSET $5
