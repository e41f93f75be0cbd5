-- Where in time an event stands in a stream: those of before the first year, or past the last, at its end.
greatest(least(e.timestamp, '9999-12-31 23:59:59.999999+00'::timestamptz), '0001-01-01 00:00:00+00'::timestamptz)
