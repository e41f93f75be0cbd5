-- The status of these sessions; missing ones give no row. $1 sessions.
SELECT s.id::text AS session_id, :status AS status FROM :sessions s WHERE s.id = ANY ($1::text[]::uuid[])
