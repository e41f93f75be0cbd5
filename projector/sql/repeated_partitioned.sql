(SELECT pg_catalog.count(DISTINCT e.id) < pg_catalog.count(*) FROM :events e WHERE e.session_id = $1)
