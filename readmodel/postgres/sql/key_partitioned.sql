(pg_catalog.uuid_send(e.id) || pg_catalog.oidsend(e.tableoid) || pg_catalog.tidsend(e.ctid))
