-- Bytes of the tables of letters; null where there are none, or they are not ours to see.
SELECT sum(pg_catalog.pg_total_relation_size(c.oid))::bigint
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname IN ('letters_0', 'letters_1', 'letters_2') AND c.relkind = 'r'
