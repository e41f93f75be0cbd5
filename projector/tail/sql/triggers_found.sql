-- The triggers named like ours on the tables with these oids, in the words of `projector.trigger_catalog`. Locks nothing.
SELECT tgrelid AS table_oid,
       tgname::text AS name,
       tgtype::int AS type,
       tgenabled::text AS enabled,
       pronamespace::regnamespace::text || '.' || pg_catalog.quote_ident(proname) AS function,
       tgoldtable::text AS old_table,
       tgnewtable::text AS new_table,
       tgattr::text = '' AND tgnargs = 0 AND tgconstraint = 0::oid AND NOT tgdeferrable
         AND tgqual IS NULL AS is_plain
  FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
 WHERE tgrelid = ANY ($1::oid[]) AND NOT tgisinternal AND tgname LIKE 'readside\_%'
