-- The tables of which row-level security hides rows from us, if any. $1 their names, qualified and quoted.
SELECT pg_catalog.string_agg(pg_catalog.to_regclass(named.name)::text, ' and ') AS hidden
FROM pg_catalog.unnest($1::text[]) AS named (name)
WHERE pg_catalog.to_regclass(named.name) IS NOT NULL
  AND pg_catalog.row_security_active(pg_catalog.to_regclass(named.name)::oid)
