-- What others keep in schema readside: everything that depends on it and is not one of our functions.
SELECT pg_describe_object(classid, objid, objsubid) AS description
  FROM pg_depend
 WHERE refclassid = 'pg_namespace'::regclass AND refobjid = to_regnamespace('readside')
   AND NOT (classid = 'pg_proc'::regclass
            AND objid IN (SELECT oid FROM pg_proc WHERE pronargs = 0 AND proname = ANY ($1::name[])))
 ORDER BY 1
