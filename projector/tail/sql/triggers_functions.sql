-- The functions in our schema. Locks nothing.
SELECT proname::text AS name,
       oidvectortypes(proargtypes) AS arguments,
       format_type(prorettype, NULL) AS result,
       prosrc AS source,
       coalesce(proconfig, '{}')::text[] AS settings,
       prosecdef AS is_definer,
       lanname = 'plpgsql' AND prokind = 'f' AND provolatile = 'v' AND NOT proisstrict AND NOT proretset
         AND NOT proleakproof AND proparallel = 'u' AS is_plain,
       pg_get_userbyid(proowner)::text AS owner
  FROM pg_proc JOIN pg_language ON pg_language.oid = prolang
 WHERE pronamespace = to_regnamespace('{schema}')
