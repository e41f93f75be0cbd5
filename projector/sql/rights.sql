-- The tables of which our role may not read every column that we read, if any; $1 and $2 are sessions and events. It asks
-- the catalog, so it waits for no lock.
SELECT pg_catalog.string_agg(DISTINCT t.name::text, ' and ') AS forbidden
FROM (VALUES
  (pg_catalog.to_regclass($1::text), ARRAY['id', 'status', 'created_at']),
  (pg_catalog.to_regclass($2::text), ARRAY['id', 'session_id', 'step_id', 'event_type', 'event_data', 'message', 'timestamp'])
) AS t (name, columns) CROSS JOIN pg_catalog.unnest(t.columns) AS c (name)
WHERE t.name IS NOT NULL AND NOT pg_catalog.has_column_privilege(t.name, c.name, 'SELECT')
