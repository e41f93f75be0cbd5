(SELECT :status FROM :sessions s WHERE s.id = $1) AS status,
       (extract(epoch FROM pg_catalog.now()) * 1000000::numeric)::bigint AS as_of_us,
       pg_catalog.pg_is_in_recovery() AS in_recovery,
       pg_catalog.pg_current_snapshot()::text AS snapshot,
       :schema.incarnation() AS incarnation,
       :database AS database,
       :visible AS visible
