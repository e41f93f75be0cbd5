(SELECT received_tli FROM pg_catalog.pg_stat_wal_receiver)
