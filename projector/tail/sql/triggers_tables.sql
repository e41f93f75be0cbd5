-- The two tables as this connection finds them, and what would keep triggers from seeing every row. Locks nothing.
SELECT wanted.name,
       found.oid,
       coalesce(found.relnamespace::regnamespace::text || '.' || quote_ident(found.relname), wanted.name) AS full_name,
       found.relkind::text AS kind,
       found.relpersistence::text = 't' AS is_temporary,
       found.relispartition OR EXISTS (SELECT FROM pg_inherits WHERE found.oid IN (inhrelid, inhparent)) AS is_inherited,
       pg_has_role(found.relowner, 'USAGE')
         AND pg_has_role(found.relowner, CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER'
                                              ELSE 'SET' END) AS is_owned,
       pg_get_userbyid(found.relowner)::text AS owner,
       ARRAY(SELECT DISTINCT subname::text
               FROM pg_subscription_rel JOIN pg_subscription ON pg_subscription.oid = srsubid
              WHERE srrelid = found.oid ORDER BY 1) AS subscriptions,
       (SELECT coalesce(jsonb_object_agg(attname, jsonb_build_object(
                 'type', format_type(atttypid, NULL), 'not_null', attnotnull, 'number', attnum, 'unvalidated', (
                   SELECT quote_ident(conname) FROM pg_constraint -- NOT NULL, but NOT VALID: from PostgreSQL 18 on
                    WHERE conrelid = attrelid AND contype = 'n' AND conkey = ARRAY[attnum] AND NOT convalidated))), '{}')::text
          FROM pg_attribute
         WHERE attrelid = found.oid AND attnum > 0 AND NOT attisdropped) AS columns
  FROM (VALUES ('sessions'), ('events')) AS wanted (name)
  LEFT JOIN pg_class AS found ON found.oid = nullif(current_setting('readside.' || wanted.name), '')::oid
