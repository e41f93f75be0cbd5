-- With its table: another partition in the place of one may hold the same id by the same transaction, and say something else.
pg_catalog.uuid_hash_extended(e.id, (e.tableoid::bigint << 32) | e.xmin::text::bigint)
