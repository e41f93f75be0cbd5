-- A session's events, newest first. $1 session, $2 how many at most.
SELECT uuid_send(e.id) AS id, :score AS score, e.event_type, convert_to(:event_json, 'UTF8') AS member
FROM events e
JOIN (SELECT n.id FROM events n WHERE n.session_id = $1 ORDER BY n.timestamp DESC, n.id DESC LIMIT $2) AS newest
  ON newest.id = e.id
ORDER BY e.timestamp DESC, e.id DESC
