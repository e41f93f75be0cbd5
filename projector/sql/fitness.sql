-- A session's events: those first whose timestamps are too far away for a score, then the newest. $1 session, $2 how many
-- at most.
SELECT f.id, f.is_far
FROM (SELECT e.id, e.timestamp, :score IS NULL AND e.timestamp IS NOT NULL AS is_far
      FROM :events e WHERE e.session_id = $1) f
ORDER BY f.is_far DESC, f.timestamp DESC, f.id DESC LIMIT $2
