-- Which events a poll's page holds, in its order; nothing of them is rendered. The parameters are those of answer.sql.
SELECT e.id FROM :events e
WHERE e.session_id = $1
  AND ($2::bigint IS NULL OR e.timestamp > :since)
  AND ($3::text[] IS NULL OR :event_type = ANY ($3))
  AND $6::bigint IS NOT NULL
  :of_steps
ORDER BY e.timestamp :forth, e.id :forth LIMIT $4::bigint OFFSET $5::bigint
