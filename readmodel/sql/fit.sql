-- Whether the tables are as readside reads them: each column there, of its type and without NULLs, and no row hidden.
-- Out of the same snapshot as the rows. readmodel/columns.py says the same, in words; types stand by the numbers that
-- PostgreSQL gave them for good: 25 text, 1043 varchar, 1184 timestamptz, 2950 uuid, 3802 jsonb.
-- From PostgreSQL 18 on a column is NOT NULL in the catalog while its old rows may hold NULL: NOT VALID.
(SELECT pg_catalog.count(*) = 10::bigint
   FROM pg_catalog.pg_attribute a
  WHERE (a.attrelid = pg_catalog.to_regclass(:sessions_name)::oid
           AND (a.attname = 'id'::name AND a.atttypid = 2950::oid
                OR a.attname = 'status'::name AND a.atttypid = ANY ('{25,1043}'::oid[])
                OR a.attname = 'created_at'::name AND a.atttypid = 1184::oid)
           AND a.attnotnull
         OR a.attrelid = pg_catalog.to_regclass(:events_name)::oid
           AND (a.attname = ANY ('{id,session_id}'::name[]) AND a.atttypid = 2950::oid AND a.attnotnull
                OR a.attname = 'step_id'::name AND a.atttypid = 2950::oid
                OR a.attname = 'event_type'::name AND a.atttypid = ANY ('{25,1043}'::oid[]) AND a.attnotnull
                OR a.attname = 'event_data'::name AND a.atttypid = 3802::oid AND a.attnotnull
                OR a.attname = 'message'::name AND a.atttypid = ANY ('{25,1043}'::oid[])
                OR a.attname = 'timestamp'::name AND a.atttypid = 1184::oid AND a.attnotnull))
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k
                    WHERE k.conrelid = a.attrelid AND k.contype = 'n'::pg_catalog."char" AND NOT k.convalidated
                      AND k.conkey = ARRAY[a.attnum]))
  AND NOT pg_catalog.row_security_active(pg_catalog.to_regclass(:sessions_name)::oid)
  AND NOT pg_catalog.row_security_active(pg_catalog.to_regclass(:events_name)::oid)
