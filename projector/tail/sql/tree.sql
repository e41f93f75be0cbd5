-- Which partitions the two tables have, at whatever depth, and what could make us miss a row of them: 32 hex digits. That is
-- when each came, whether it is on its way out, the file that its rows are in, our triggers on it, whether a subscription
-- feeds it, and how its generated columns are made. When it changes, the view is compared; it need not end.
-- From the catalog alone, by the snapshot of the statement that it stands in: it waits for no lock.
(WITH RECURSIVE tree AS (
   SELECT i.inhrelid AS oid, i.xmin AS came, i.inhdetachpending AS goes FROM pg_catalog.pg_inherits AS i
    WHERE i.inhparent = ANY (ARRAY[{tables}]::pg_catalog.oid[])
   UNION ALL
   SELECT i.inhrelid, i.xmin, i.inhdetachpending FROM tree JOIN pg_catalog.pg_inherits AS i ON i.inhparent = tree.oid
 )
 SELECT pg_catalog.md5(pg_catalog.concat_ws(' ',
   (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', tree.oid, tree.came, tree.goes, c.relfilenode, c.relkind), ' '
             ORDER BY tree.oid)
      FROM tree JOIN pg_catalog.pg_class AS c ON c.oid = tree.oid),
   (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', t.oid, t.xmin, t.tgenabled), ' ' ORDER BY t.oid)
      FROM tree JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = tree.oid
      JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
     WHERE p.pronamespace = pg_catalog.to_regnamespace('"{schema}"')::pg_catalog.oid),
   (SELECT pg_catalog.string_agg(s.srrelid::text, ' ' ORDER BY s.srrelid)
      FROM tree JOIN pg_catalog.pg_subscription_rel AS s ON s.srrelid = tree.oid),
   (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', d.oid, d.xmin), ' ' ORDER BY d.oid)
      FROM tree JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = tree.oid
      JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum AND a.attgenerated <> ''))))
