-- The statements that remove every trace of ours, in order: triggers (sessions first, as writers lock), functions ($1),
-- tables and sequences ($2), schema.
WITH ours AS (
  SELECT pg_proc.oid, proname FROM pg_proc
   WHERE pronamespace = to_regnamespace('{schema}') AND proname::text || oidvectortypes(proargtypes) = ANY ($1::text[])
)
SELECT 1 AS step, relname <> 'sessions' AS later, pg_trigger.oid,
       format('DROP TRIGGER %I ON %I.%I', tgname, nspname, relname) AS statement,
       pg_class.oid AS table_oid
  FROM pg_trigger JOIN ours ON ours.oid = tgfoid
  JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
 WHERE tgparentid = 0
UNION ALL
SELECT 2, false, oid, format('DROP FUNCTION %s', oid::regprocedure), NULL FROM ours
UNION ALL
SELECT 3, false, oid, format('DROP %s %s', CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::regclass), NULL
  FROM pg_class
 WHERE relnamespace = to_regnamespace('{schema}') AND relname = ANY ($2::text[]::name[]) AND relkind IN ('r', 'S')
UNION ALL
SELECT 4, false, oid, format('DROP SCHEMA %I', nspname), NULL FROM pg_namespace WHERE nspname = '{schema}'
 ORDER BY 1, 2, 3
