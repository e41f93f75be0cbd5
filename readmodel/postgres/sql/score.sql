(CASE WHEN e.timestamp > '1900-01-01 00:00:00+00'::timestamptz AND e.timestamp < '2040-01-01 00:00:00+00'::timestamptz
      THEN (pg_catalog.date_part('epoch', e.timestamp) * 1000000::float8)::bigint -- cheaper than extract, and exact below 2^51
      WHEN e.timestamp > '1684-07-28 00:12:26+00'::timestamptz AND e.timestamp < '2255-06-05 23:47:34+00'::timestamptz
      THEN (extract(epoch FROM e.timestamp) * 1000000::numeric)::bigint END)
