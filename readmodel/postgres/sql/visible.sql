-- Whether no row of the tables is hidden from our role. That can change at any time, and an answer would lack rows silently.
(NOT pg_catalog.row_security_active(pg_catalog.to_regclass(:sessions_name)::oid)
  AND NOT pg_catalog.row_security_active(pg_catalog.to_regclass(:events_name)::oid))
