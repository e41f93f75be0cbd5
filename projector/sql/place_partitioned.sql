(e.tableoid::text || e.ctid::text)
