-- What our role may do in this database.
SELECT current_user::text AS role,
       current_database()::text AS database,
       to_regnamespace('readside') IS NOT NULL AS has_schema,
       has_database_privilege(current_database(), 'CREATE') AS may_create_schema,
       coalesce(has_schema_privilege(to_regnamespace('readside'), 'USAGE')
                AND has_schema_privilege(to_regnamespace('readside'), 'CREATE'), false) AS may_use_schema
