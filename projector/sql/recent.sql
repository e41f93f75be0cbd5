-- The sessions to warm at start: not in a terminal status, most recently created first. $1 how many at most.
SELECT s.id::text AS session_id FROM :sessions s
WHERE s.status::text COLLATE pg_catalog."C" NOT IN ('completed', 'failed', 'cancelled')
ORDER BY s.created_at DESC LIMIT $1
