-- The two tables as our role finds them. $1 their names, qualified and quoted, sessions first.
SELECT coalesce(pg_catalog.quote_ident(s.nspname::text) || '.' || pg_catalog.quote_ident(c.relname::text), named.name) AS name,
       c.relkind::text AS kind, pg_catalog.row_security_active(c.oid) AS hidden,
       (SELECT coalesce(pg_catalog.jsonb_object_agg(a.attname, pg_catalog.jsonb_build_object(
                 'type', pg_catalog.format_type(a.atttypid, NULL), 'not_null', a.attnotnull, 'unvalidated', k.name,
                 'readable', pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT'))), '{}')::text
          FROM pg_catalog.pg_attribute a LEFT JOIN LATERAL (
            SELECT pg_catalog.quote_ident(k.conname::text) AS name FROM pg_catalog.pg_constraint k
            WHERE k.conrelid = a.attrelid AND k.contype = 'n'::pg_catalog."char" AND NOT k.convalidated
              AND k.conkey[1] = a.attnum LIMIT 1) k ON true
         WHERE a.attrelid = c.oid AND a.attnum > 0::int2 AND NOT a.attisdropped) AS columns
FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY AS named (name, place)
LEFT JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(named.name)::oid
LEFT JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
ORDER BY named.place
