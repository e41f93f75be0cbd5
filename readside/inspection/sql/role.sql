-- Our role beyond what it needs, and how many connections it may have. $1 and $2: sessions and events.
SELECT r.rolname::text AS role, r.rolsuper AS is_superuser, d.datname::text AS database,
       (SELECT string_agg(DISTINCT p.privilege, ', ' ORDER BY p.privilege)
          FROM unnest(ARRAY[pg_catalog.to_regclass($1::text), pg_catalog.to_regclass($2::text)]) AS t (oid)
         CROSS JOIN unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) AS p (privilege)
         WHERE t.oid IS NOT NULL AND pg_catalog.has_table_privilege(t.oid, p.privilege)) AS writes,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
         - coalesce(nullif(current_setting('reserved_connections', true), ''), '0')::int AS places,
       (SELECT count(*) FROM pg_catalog.pg_stat_activity
         WHERE datid IS NOT NULL) AS taken,
       (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE usename = r.rolname) AS taken_by_role,
       nullif(r.rolconnlimit, -1) AS role_limit,
       nullif(d.datconnlimit, -1) AS database_limit,
       (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname = d.datname) AS taken_of_database,
       current_setting('max_prepared_transactions')::int AS prepared,
       (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000::numeric)::bigint AS now_us
FROM pg_catalog.pg_roles AS r, pg_catalog.pg_database AS d
WHERE r.rolname = current_user AND d.datname = current_database()
