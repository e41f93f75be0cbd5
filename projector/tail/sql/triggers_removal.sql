-- The statements that remove every trace of ours, in order: triggers (sessions first, as writers lock), functions, schema.
WITH ours AS (
  SELECT pg_proc.oid, proname FROM pg_proc
   WHERE pronamespace = to_regnamespace('readside') AND pronargs = 0 AND proname = ANY ($1::name[])
)
SELECT 1 AS step, relname <> 'sessions' AS later, pg_trigger.oid,
       format('DROP TRIGGER %I ON %I.%I', tgname, nspname, relname) AS statement,
       pg_class.oid AS table_oid
  FROM pg_trigger JOIN ours ON ours.oid = tgfoid
  JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
 WHERE tgparentid = 0
UNION ALL
SELECT 2, false, oid, format('DROP FUNCTION readside.%I()', proname), NULL FROM ours
UNION ALL
SELECT 3, false, oid, 'DROP SCHEMA readside', NULL FROM pg_namespace WHERE nspname = 'readside'
 ORDER BY 1, 2, 3
