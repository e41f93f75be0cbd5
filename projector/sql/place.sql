e.ctid
