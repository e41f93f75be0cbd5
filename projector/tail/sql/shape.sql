-- What rows read as: 32 hex digits over all that can change it without touching a row that our triggers would see. That
-- is the columns that we read (which they are, their types, the value that rows from before a column have, how generated
-- ones are made, and who wrote that last: a column that was another for a moment had other values), the files that the rows are in (a rewrite changes every value and every xmin), and whether row-level
-- security applies. ANALYZE, VACUUM, indexes, comments and other columns are no part of it.
-- From the snapshot of the statement that it stands in, as the rows are.
(SELECT pg_catalog.md5(pg_catalog.concat_ws(' ', pg_catalog.getdatabaseencoding(), pg_catalog.string_agg(
          ROW(c.oid, c.relfilenode, c.relkind, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity,
              a.attnum, a.attname, a.xmin, a.atttypid, a.atttypmod, a.attcollation, a.attmissingval,
              a.attgenerated, d.oid, d.xmin, d.adbin::text)::text, ' ' ORDER BY c.oid, a.attnum)))
   FROM (VALUES (pg_catalog.to_regclass(:sessions_name)::oid, :sessions_columns),
                (pg_catalog.to_regclass(:events_name)::oid, :events_columns)) AS named (oid, columns)
   JOIN pg_catalog.pg_class c ON c.oid = named.oid
   JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = ANY (named.columns)
   LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated <> ''
)
