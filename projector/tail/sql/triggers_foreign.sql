-- What others keep in our schema: everything that depends on it and is none of our functions ($1) and relations ($2).
SELECT pg_describe_object(classid, objid, objsubid) AS description
  FROM pg_depend
 WHERE refclassid = 'pg_namespace'::regclass AND refobjid = to_regnamespace('{schema}')
   AND NOT (classid = 'pg_proc'::regclass AND objid IN (SELECT oid FROM pg_proc
                                                           WHERE proname::text || oidvectortypes(proargtypes) = ANY ($1)))
   AND NOT (classid = 'pg_class'::regclass
            AND objid IN (SELECT oid FROM pg_class WHERE relname = ANY ($2::text[]::name[]) AND relkind IN ('r', 'S')))
 ORDER BY 1
