e.ctid = ANY ($1::text[]::tid[])
