(CASE WHEN e.timestamp > '1684-07-28 00:12:26+00'::timestamptz AND e.timestamp < '2255-06-05 23:47:34+00'::timestamptz
      THEN (extract(epoch FROM e.timestamp) * 1000000)::bigint END)
