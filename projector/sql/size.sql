(250 + coalesce(octet_length(e.message), 0) + least(pg_column_size(e.event_data), 50000000)
  * CASE WHEN pg_column_compression(e.event_data) IS NULL THEN 1 ELSE 20 END)
