-- The partitions of our tables, parents first, with our triggers on each. Locks nothing.
WITH RECURSIVE tree AS (
  SELECT root.name, root.oid, 0 AS depth, NULL::oid AS parent, relowner AS owner
    FROM (VALUES ('sessions', current_setting('readside.sessions')), ('events', current_setting('readside.events')))
         AS named (name, text)
   CROSS JOIN LATERAL (SELECT named.name, nullif(named.text, '')::oid AS oid) AS root
    JOIN pg_class ON pg_class.oid = root.oid AND pg_class.relkind = 'p'
  UNION ALL
  SELECT tree.name, inhrelid, depth + 1, tree.oid, owner
    FROM tree JOIN pg_inherits ON inhparent = tree.oid WHERE NOT inhdetachpending
)
SELECT tree.name,
       tree.oid,
       tree.parent,
       relnamespace::regnamespace::text || '.' || quote_ident(relname) AS full_name,
       relkind::text AS kind,
       pg_has_role(owner, relowner, 'USAGE') AS is_owned, -- by the owner of events, as which our functions run
       coalesce(ours.triggers, '{}')::text AS triggers
  FROM tree JOIN pg_class ON pg_class.oid = tree.oid
  LEFT JOIN (
    SELECT tgrelid, jsonb_object_agg(tgname, jsonb_build_object(
             'type', tgtype::int, 'enabled', tgenabled::text, 'function', proname::text,
             'old_table', tgoldtable::text, 'new_table', tgnewtable::text,
             'is_plain', tgattr::text = '' AND tgnargs = 0 AND tgconstraint = 0 AND NOT tgdeferrable
                         AND tgqual IS NULL)) AS triggers
      FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
     WHERE pronamespace = to_regnamespace('{schema}') GROUP BY tgrelid
  ) AS ours ON ours.tgrelid = tree.oid
 WHERE depth > 0
 ORDER BY tree.name, depth, tree.oid
