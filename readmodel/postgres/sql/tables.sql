-- The schemas where this connection's search_path finds `sessions` and `events`, each NULL where it finds none, and the
-- path itself. Not looked for in pg_temp: on a pooled connection another user may have left something there.
WITH path AS (
  SELECT n.oid, n.nspname, p.place
  FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY AS p (name, place)
  JOIN pg_catalog.pg_namespace n ON n.nspname = p.name
)
SELECT (SELECT p.nspname::text FROM path p JOIN pg_catalog.pg_class c ON c.relnamespace = p.oid
        WHERE c.relname = 'sessions' ORDER BY p.place LIMIT 1) AS sessions,
       (SELECT p.nspname::text FROM path p JOIN pg_catalog.pg_class c ON c.relnamespace = p.oid
        WHERE c.relname = 'events' ORDER BY p.place LIMIT 1) AS events,
       coalesce((SELECT c.relkind = 'p' FROM path p JOIN pg_catalog.pg_class c ON c.relnamespace = p.oid
        WHERE c.relname = 'events' ORDER BY p.place LIMIT 1), false) AS partitioned,
       pg_catalog.current_schemas(false)::text[] AS schemas
