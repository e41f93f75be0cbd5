ARRAY(SELECT open.id::text::bigint FROM pg_catalog.pg_snapshot_xip(pg_catalog.pg_current_snapshot()) AS open (id))
