-- Our triggers on the tables with these oids ($1): named like ours ($2), or with a function of ours. Locks nothing.
SELECT tgrelid AS table_oid,
       tgname::text AS name,
       tgtype::int AS type,
       tgenabled::text AS enabled,
       CASE WHEN pronamespace = to_regnamespace('{schema}') THEN proname::text END AS function,
       tgoldtable::text AS old_table,
       tgnewtable::text AS new_table,
       tgattr::text = '' AND tgnargs = 0 AND tgconstraint = 0 AND NOT tgdeferrable
         AND tgqual IS NULL AS is_plain
  FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
 WHERE tgrelid = ANY ($1::oid[]) AND NOT tgisinternal
   AND (tgname = ANY ($2::text[]::name[]) OR pronamespace = to_regnamespace('{schema}'))
