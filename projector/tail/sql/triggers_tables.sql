-- The two tables as this connection finds them, and what would keep triggers from seeing every row. Locks nothing.
WITH RECURSIVE tree AS (
  SELECT named.name, inhrelid AS oid
    FROM (VALUES ('sessions'), ('events')) AS named (name)
    JOIN pg_inherits ON inhparent = nullif(current_setting('readside.' || named.name), '')::oid
  UNION ALL
  SELECT tree.name, inhrelid FROM tree JOIN pg_inherits ON inhparent = tree.oid
)
SELECT wanted.name,
       found.oid,
       coalesce(found.relnamespace::regnamespace::text || '.' || quote_ident(found.relname), wanted.name) AS full_name,
       found.relkind::text AS kind,
       found.relpersistence::text = 't' AS is_temporary,
       found.relispartition OR EXISTS (SELECT FROM pg_inherits
                                        WHERE inhrelid = found.oid OR inhparent = found.oid AND found.relkind <> 'p')
         AS is_inherited,
       (SELECT min(relnamespace::regnamespace::text || '.' || quote_ident(relname)) FROM tree JOIN pg_class USING (oid)
         WHERE tree.name = wanted.name AND relkind = 'f') AS foreign_partition,
       EXISTS (SELECT FROM pg_index
                WHERE indrelid = found.oid AND indisunique AND indisvalid AND indnkeyatts = 1 AND indpred IS NULL
                  AND indkey[0] = (SELECT attnum FROM pg_attribute
                                    WHERE attrelid = found.oid AND attname = 'id' AND NOT attisdropped))
         AS has_unique_ids,
       pg_has_role(found.relowner, 'USAGE')
         AND pg_has_role(found.relowner, CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER'
                                              ELSE 'SET' END) AS is_owned,
       pg_get_userbyid(found.relowner)::text AS owner,
       ARRAY(SELECT DISTINCT subname::text
               FROM pg_subscription_rel JOIN pg_subscription ON pg_subscription.oid = srsubid
              WHERE srrelid = found.oid OR srrelid IN (SELECT tree.oid FROM tree WHERE tree.name = wanted.name)
              ORDER BY 1) AS subscriptions,
       (SELECT coalesce(jsonb_object_agg(attname, jsonb_build_object(
                 'type', format_type(atttypid, NULL), 'not_null', attnotnull, 'number', attnum, 'unvalidated', (
                   SELECT quote_ident(conname) FROM pg_constraint -- NOT NULL, but NOT VALID: from PostgreSQL 18 on
                    WHERE conrelid = attrelid AND contype = 'n' AND conkey = ARRAY[attnum] AND NOT convalidated))), '{}')::text
          FROM pg_attribute
         WHERE attrelid = found.oid AND attnum > 0 AND NOT attisdropped) AS columns
  FROM (VALUES ('sessions'), ('events')) AS wanted (name)
  LEFT JOIN pg_class AS found ON found.oid = nullif(current_setting('readside.' || wanted.name), '')::oid
