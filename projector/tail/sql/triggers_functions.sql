-- The functions in schema readside that take no argument. Locks nothing.
SELECT proname::text AS name,
       prosrc AS source,
       coalesce(proconfig, '{}')::text[] AS settings,
       lanname = 'plpgsql' AND prorettype = 'trigger'::regtype::oid AND NOT prosecdef AND prokind = 'f' AS is_plain
  FROM pg_proc JOIN pg_language ON pg_language.oid = prolang
 WHERE pronamespace = pg_catalog.to_regnamespace('readside')::oid AND pronargs = 0
