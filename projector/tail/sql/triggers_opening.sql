-- The tables are those that our own search_path finds; after that nothing of anybody's can take the place of a name, and
-- no setting of a database or a role changes what follows. Only what is qualified to the last type stands before it.
SELECT pg_catalog.set_config('readside.schemas', pg_catalog.current_schemas(false)::pg_catalog.text, true),
       pg_catalog.set_config('readside.sessions',
         COALESCE(pg_catalog.to_regclass({sessions})::pg_catalog.oid::pg_catalog.text, ''), true),
       pg_catalog.set_config('readside.events',
         COALESCE(pg_catalog.to_regclass({events})::pg_catalog.oid::pg_catalog.text, ''), true);
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL quote_all_identifiers = off;
SET LOCAL standard_conforming_strings = on;
SET LOCAL check_function_bodies = on;
SET LOCAL client_min_messages = warning;
SET LOCAL default_tablespace = '';
SET LOCAL statement_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = 0;
