-- Whether our role may ask for the incarnation, and read all letters, in the schema $1; NULL where there is no such function.
-- Only the catalog is asked.
WITH ours AS (SELECT oid, pg_catalog.has_schema_privilege(oid, 'USAGE') AS usable FROM pg_catalog.pg_namespace WHERE nspname = $1::text::name)
SELECT (SELECT ours.usable AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE') FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = ours.oid AND p.proname = 'incarnation' AND p.pronargs = 0::int2) AS incarnation,
       ours.usable AND (
        SELECT pg_catalog.count(*) = 3::bigint FROM pg_catalog.pg_class c
        WHERE c.relnamespace = ours.oid AND c.relname = ANY (ARRAY['letters_0', 'letters_1', 'letters_2']::name[])
          AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AND NOT pg_catalog.row_security_active(c.oid)) AS letters
FROM ours
