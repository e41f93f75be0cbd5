-- What our role may do in this database.
SELECT current_user::text AS role,
       current_database()::text AS database,
       (SELECT nspowner FROM pg_namespace WHERE nspname = '{schema}')
         IS NOT DISTINCT FROM (SELECT relowner FROM pg_class WHERE oid = current_setting('readside.events')::oid)
         AS has_schema,
       has_database_privilege(current_database(), 'CREATE') AS may_create_schema
