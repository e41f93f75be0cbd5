-- Tables that were partitions of events, bear statement triggers of ours, and may be altered by the owner of events.
WITH RECURSIVE tree AS (
  SELECT current_setting('readside.events')::oid AS oid
  UNION ALL
  SELECT inhrelid FROM tree JOIN pg_inherits ON inhparent = tree.oid WHERE NOT inhdetachpending
)
SELECT oid, relnamespace::regnamespace::text || '.' || quote_ident(relname) AS full_name
  FROM pg_class
 WHERE oid IN (SELECT tgrelid FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
                WHERE pronamespace = to_regnamespace('{schema}')
                  AND proname IN ('events_inserted', 'events_updated', 'events_deleted'))
   AND NOT EXISTS (SELECT FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid -- a table that we were installed on
                    WHERE tgrelid = pg_class.oid AND pronamespace = to_regnamespace('{schema}') AND proname = 'truncated')
   AND oid NOT IN (SELECT tree.oid FROM tree)
   AND pg_has_role((SELECT relowner FROM pg_class WHERE oid = current_setting('readside.events')::oid), relowner, 'USAGE')
 ORDER BY oid
