((SELECT system_identifier FROM pg_catalog.pg_control_system())::text || '/'
  || (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())::text)
