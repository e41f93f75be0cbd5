SELECT format('%s belongs to %s, who neither installs (that is %s) nor owns events (that is %s): remove it first',
              named.thing, pg_get_userbyid(named.owner), current_user, pg_get_userbyid(trusted.owner)) AS sentence
  FROM (SELECT 1 AS place, 'schema {schema}' AS thing, nspowner AS owner FROM pg_namespace WHERE nspname = '{schema}'
        UNION ALL
        SELECT 2, pg_describe_object('pg_class'::regclass, oid, 0), relowner FROM pg_class
         WHERE relnamespace = to_regnamespace('{schema}')
           AND relname IN ('letters_0', 'letters_1', 'letters_2', 'letters_0_txid', 'letters_1_txid', 'letters_2_txid',
                           'presence', 'skips', 'reader', 'incarnation')
        UNION ALL
        SELECT 3, pg_describe_object('pg_proc'::regclass, oid, 0), proowner FROM pg_proc
         WHERE pronamespace = to_regnamespace('{schema}')
           AND proname IN ('events_inserted', 'events_updated', 'events_deleted', 'events_row', 'sessions_inserted',
                           'sessions_updated', 'sessions_deleted', 'sessions_row', 'truncated', 'empty_letters',
                           'adopt_partition', 'fire_always', 'incarnation')) AS named
 CROSS JOIN (SELECT coalesce(
               (SELECT relowner FROM pg_class WHERE oid = nullif(current_setting('readside.events'), '')::oid),
               (SELECT nspowner FROM pg_namespace WHERE nspname = '{schema}')) AS owner) AS trusted
 WHERE named.owner <> trusted.owner AND pg_get_userbyid(named.owner) <> current_user
 ORDER BY named.place, named.thing
