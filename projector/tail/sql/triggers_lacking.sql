-- What our own role, by whatever way it has its rights, may not do of what projector, API and `verify` do: as the GRANTs
-- that would help.
SELECT format('GRANT %s ON %s TO %I', privilege, thing, current_user) AS statement
FROM (
    SELECT 'USAGE' AS privilege, format('SCHEMA %I', nspname) AS thing,
           has_schema_privilege(oid, 'USAGE') AS held
      FROM pg_namespace
     WHERE nspname = '{schema}'
        OR oid IN (SELECT relnamespace FROM pg_class
                    WHERE oid IN (current_setting('readside.sessions')::oid, current_setting('readside.events')::oid))
    UNION ALL
    SELECT privilege, format('%s %s', CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::regclass),
           CASE relkind WHEN 'S' THEN has_sequence_privilege(oid, privilege) ELSE has_table_privilege(oid, privilege) END
      FROM pg_class CROSS JOIN (VALUES ('SELECT'), ('UPDATE')) AS privileges (privilege)
     WHERE (relnamespace = to_regnamespace('{schema}')
            AND relname IN ('letters_0', 'letters_1', 'letters_2', 'presence', 'skips', 'reader', 'incarnation')
            OR oid IN (current_setting('readside.sessions')::oid, current_setting('readside.events')::oid))
       AND (privilege = 'SELECT'
            OR relnamespace = to_regnamespace('{schema}') AND relname IN ('presence', 'reader'))
    UNION ALL
    SELECT 'EXECUTE', format('FUNCTION %s', oid::regprocedure), has_function_privilege(oid, 'EXECUTE')
      FROM pg_proc
     WHERE pronamespace = to_regnamespace('{schema}') AND proname IN ('empty_letters', 'adopt_partition', 'fire_always', 'incarnation')) AS needed
WHERE NOT held
ORDER BY thing, privilege
