pg_catalog.uuid_hash_extended(e.id, e.xmin::text::bigint)
