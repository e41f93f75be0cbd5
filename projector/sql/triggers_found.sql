-- The triggers named like ours on the tables with these oids, in the words of `projector.trigger_catalog`. Locks nothing.
--
-- pg_get_triggerdef would lock the table to print a condition, so this takes the parts that matter out of the stored one.
SELECT tgrelid AS table_oid,
       tgname::text AS name,
       tgtype::int AS type,
       tgenabled::text AS enabled,
       pronamespace::regnamespace::text || '.' || quote_ident(proname) AS function,
       tgoldtable::text AS old_table,
       tgnewtable::text AS new_table,
       tgattr::text = '' AND tgnargs = 0 AND tgconstraint = 0 AND NOT tgdeferrable AS is_plain,
       (SELECT string_agg(array_to_string(token, ' '), ' ' ORDER BY place)
          FROM regexp_matches(
                 tgqual::text, '\{([A-QS-Z][A-Z]+|R(?!ELABELTYPE)[A-Z]+)|:(boolop \w+|opno \d+|varno \d+|varattno \d+)', 'g'
               ) WITH ORDINALITY AS part (token, place)) AS condition
  FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
 WHERE tgrelid = ANY ($1::oid[]) AND NOT tgisinternal AND tgname LIKE 'readside\_%'
