-- Letters and sequences in our schema ($1: their names), and whether each is as it was made. Locks nothing.
SELECT relname::text AS name,
       oid::regclass::text AS full_name,
       relkind::text AS kind,
       pg_get_userbyid(relowner)::text AS owner,
       ARRAY(SELECT format('GRANT %s ON %s %s TO %I', privilege_type,
                           CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, found.oid::regclass,
                           pg_get_userbyid(grantee))
               FROM aclexplode(relacl) WHERE grantee NOT IN (0, relowner)) AS grants,
       relpersistence = 'u' AND CASE relkind
         WHEN 'S' THEN EXISTS (
           SELECT FROM pg_sequence
            WHERE seqrelid = found.oid AND seqtypid = 'bigint'::regtype AND seqincrement = 1 AND seqcache = 1
              AND NOT seqcycle AND seqmax = 9223372036854775807
              AND seqmin = CASE relname WHEN 'skips' THEN 1 ELSE 0 END)
         WHEN 'r' THEN
           reloptions = '{autovacuum_enabled=off}'
           AND NOT (relhasrules OR relhastriggers OR relrowsecurity OR relforcerowsecurity)
           AND (SELECT amname FROM pg_am WHERE oid = found.relam) = 'heap'
           AND NOT EXISTS (SELECT FROM pg_inherits WHERE found.oid IN (inhrelid, inhparent))
           AND NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = found.oid AND contype <> 'n')
           AND NOT EXISTS (SELECT FROM pg_attrdef WHERE adrelid = found.oid)
           AND (SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull, ', '
                                  ORDER BY attnum)
                  FROM pg_attribute WHERE attrelid = found.oid AND attnum > 0)
             = 'txid xid8 true, kind "char" true, session_id uuid false, event_id uuid false'
           AND (SELECT string_agg(format('%s %s %s %s', (SELECT amname FROM pg_am WHERE oid = ix.relam),
                                         indkey, indisvalid AND indislive AND NOT indisunique,
                                         indpred IS NULL AND indexprs IS NULL), ', ')
                  FROM pg_index JOIN pg_class AS ix ON ix.oid = indexrelid WHERE indrelid = found.oid)
             = 'btree 1 t t'
         ELSE false
       END AS is_whole
  FROM pg_class AS found
 WHERE relnamespace = to_regnamespace('{schema}') AND relname = ANY ($1::text[]::name[])
