-- What others than the owner may do with ours, past what readers of letters need. Locks nothing.
SELECT format('%s has %s on %s', CASE grantee WHEN 0 THEN 'everybody' ELSE 'role ' || pg_get_userbyid(grantee) END,
              privilege_type, thing) AS description,
       format('REVOKE %s ON %s FROM %s', privilege_type, thing,
              CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END) AS statement
  FROM (SELECT format('SCHEMA %I', nspname) AS thing, '{USAGE}'::text[] AS harmless, nspowner AS owner,
               coalesce(nspacl, acldefault('n', nspowner)) AS acl
          FROM pg_namespace WHERE nspname = '{schema}'
        UNION ALL
        SELECT format('%s %s', CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::regclass),
               CASE WHEN relname IN ('presence', 'reader') THEN '{SELECT,UPDATE}' ELSE '{SELECT}' END::text[], relowner,
               coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))
          FROM pg_class
         WHERE relnamespace = to_regnamespace('{schema}') AND relname = ANY ($1::text[]::name[])
        UNION ALL
        SELECT format('FUNCTION %s', oid::regprocedure),
               CASE WHEN proname IN ('empty_letters', 'adopt_partition', 'fire_always', 'incarnation') THEN '{EXECUTE}' ELSE '{}' END::text[], proowner,
               coalesce(proacl, acldefault('f', proowner))
          FROM pg_proc
         WHERE pronamespace = to_regnamespace('{schema}') AND proname = ANY ($2::text[]::name[])) AS ours
 CROSS JOIN aclexplode(ours.acl)
 WHERE grantee <> ours.owner AND NOT (grantee <> 0 AND privilege_type = ANY (ours.harmless) AND NOT is_grantable)
 ORDER BY 1
