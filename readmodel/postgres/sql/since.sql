('epoch'::timestamptz + ($2::bigint / 1000000)::float8 * interval '1 second'
  + ($2::bigint % 1000000::bigint)::float8 * interval '1 microsecond')
