-- What rows of each partition read as: its columns that we read, by number, name and type, with the value that rows from
-- before a column have, and how generated ones are made. Rows of a table that was detached, altered and attached again are
-- the same rows, and may read as others. `settled`: whoever attached it has let go of all locks, so that everybody knows.
WITH RECURSIVE tree AS (
  SELECT named.columns, i.inhrelid AS oid, i.xmin AS came
    FROM (VALUES (pg_catalog.to_regclass(:sessions_name)::oid, :sessions_columns),
                 (pg_catalog.to_regclass(:events_name)::oid, :events_columns)) AS named (oid, columns)
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent = named.oid
  UNION ALL
  SELECT tree.columns, i.inhrelid, i.xmin FROM tree JOIN pg_catalog.pg_inherits AS i ON i.inhparent = tree.oid
), held AS MATERIALIZED (
  SELECT l.transactionid FROM pg_catalog.pg_locks AS l WHERE l.locktype = 'transactionid' AND l.granted
)
SELECT tree.oid::text AS part, NOT EXISTS (SELECT FROM held WHERE held.transactionid = tree.came) AS settled,
       (SELECT pg_catalog.md5(coalesce(pg_catalog.string_agg(
                 ROW(a.attnum, a.attname, a.atttypid, a.atttypmod, a.attcollation, a.attmissingval, a.attgenerated,
                     pg_catalog.pg_get_expr(d.adbin, d.adrelid))::text, ' ' ORDER BY a.attnum), ''))
          FROM pg_catalog.pg_attribute AS a
          LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated <> ''
         WHERE a.attrelid = tree.oid AND a.attname = ANY (tree.columns)) AS layout
  FROM tree
