-- Every session's id, in pages. $1 the last id seen, $2 how many at most.
SELECT s.id::text AS session_id FROM :sessions s WHERE s.id > $1 ORDER BY s.id LIMIT $2
