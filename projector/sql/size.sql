(250 + coalesce(pg_catalog.octet_length(e.message::text), 0) + least(pg_catalog.pg_column_size(e.event_data), 50000000)
  * CASE WHEN pg_catalog.pg_column_compression(e.event_data) IS NULL THEN 1 ELSE 20 END)
