SELECT format('GRANT %s ON %s TO %I', wanted.privilege, wanted.thing, role.rolname) AS statement
  FROM pg_roles AS role
 CROSS JOIN (
        SELECT 'USAGE' AS privilege, format('SCHEMA %I', nspname) AS thing,
               coalesce(nspacl, acldefault('n', nspowner)) AS acl
          FROM pg_namespace WHERE nspname = '{schema}'
        UNION ALL
        SELECT privilege, format('%s %s', CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::regclass),
               coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))
          FROM pg_class CROSS JOIN (VALUES ('SELECT'), ('UPDATE')) AS privileges (privilege)
         WHERE (relnamespace = to_regnamespace('{schema}')
                AND relname IN ('letters_0', 'letters_1', 'letters_2', 'presence', 'skips', 'reader', 'incarnation')
                OR oid IN (current_setting('readside.sessions')::oid, current_setting('readside.events')::oid))
           AND (privilege = 'SELECT'
                OR relnamespace = to_regnamespace('{schema}') AND relname IN ('presence', 'reader'))
        UNION ALL
        SELECT 'EXECUTE', format('FUNCTION %s', oid::regprocedure), coalesce(proacl, acldefault('f', proowner))
          FROM pg_proc
         WHERE pronamespace = to_regnamespace('{schema}') AND proname IN ('empty_letters', 'adopt_partition', 'fire_always', 'incarnation')) AS wanted
 WHERE role.rolname = current_setting('readside.role')
   AND NOT EXISTS (SELECT FROM aclexplode(wanted.acl)
                    WHERE grantee = role.oid AND privilege_type = wanted.privilege)
UNION ALL
SELECT DISTINCT format('GRANT USAGE ON SCHEMA %s TO %I', relnamespace::regnamespace, role.rolname)
  FROM pg_roles AS role
 CROSS JOIN pg_class
 WHERE role.rolname = current_setting('readside.role')
   AND pg_class.oid IN (current_setting('readside.sessions')::oid, current_setting('readside.events')::oid)
   AND NOT has_schema_privilege(role.oid, relnamespace, 'USAGE')
