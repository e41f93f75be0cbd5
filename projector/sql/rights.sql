-- The tables of which our role may not read every column that we read, if any. It asks the catalog, so it waits for no lock.
SELECT string_agg(DISTINCT t.name::text, ' and ') AS forbidden
FROM (VALUES
  (to_regclass('sessions'), ARRAY['id', 'status', 'created_at']),
  (to_regclass('events'), ARRAY['id', 'session_id', 'step_id', 'event_type', 'event_data', 'message', 'timestamp'])
) AS t (name, columns) CROSS JOIN unnest(t.columns) AS c (name)
WHERE t.name IS NOT NULL AND NOT has_column_privilege(t.name, c.name, 'SELECT')
