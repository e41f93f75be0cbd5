-- All that readside installs lives in this schema, but for the triggers themselves. Writers need no right to it.
DO $$
BEGIN
  IF to_regnamespace('readside') IS NULL THEN
    CREATE SCHEMA readside;
  END IF;
END
$$;

-- The functions run with the rights of whoever writes (SECURITY INVOKER) and under a search_path of their own, so that
-- nothing in a writer's schemas can take the place of a name below. They read the statement's own rows and nothing
-- else: "added" (new rows) and "removed" (old rows). They send notices on the channel "readside":
--
--   a <session> <event> <event>...   events added (event ids as 32 hex digits, 200 at most)
--   l <session> <session>...         look at these sessions: something else happened to their events or their row
--   n <session>...                   new sessions
--   r <session>...                   the status of these sessions changed
--   x                                too much to name: compare everything
--
-- A chunk of 200 keeps a notice under Postgres' 8,000 bytes. JIT is off because a plan made for a huge statement stays
-- for the connection's later, small ones, which would then be compiled each time.

CREATE OR REPLACE FUNCTION readside.events_inserted() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_variable
DECLARE
  first_two bigint;
  one_session text;
  one_event text;
  session_count bigint;
  great_many uuid[];
BEGIN
  -- One row is the hot case, and needs no grouping.
  SELECT count(*), min(two.session_id::text), min(two.id::text)
    INTO first_two, one_session, one_event
    FROM (SELECT added.session_id, added.id FROM added LIMIT 2) AS two;
  IF first_two = 0 THEN
    RETURN NULL;
  ELSIF first_two = 1 THEN
    PERFORM pg_notify('readside', 'a ' || one_session || ' ' || replace(one_event, '-', ''));
    RETURN NULL;
  END IF;

  -- Past 1,000 new events of one session it is cheaper to read the session again than to name them.
  SELECT count(*), coalesce(array_agg(per_session.session_id) FILTER (WHERE per_session.events > 1000), '{}')
    INTO session_count, great_many
    FROM (SELECT added.session_id, count(*) AS events FROM added GROUP BY added.session_id) AS per_session;
  IF session_count > 5000 THEN
    PERFORM pg_notify('readside', 'x');
    RETURN NULL;
  END IF;

  PERFORM pg_notify('readside', 'l' || string_agg(' ' || many.session_id::text, ''))
     FROM unnest(great_many) WITH ORDINALITY AS many (session_id, place)
    GROUP BY (many.place - 1) / 200;
  PERFORM pg_notify('readside', 'a ' || numbered.session_id::text
                                     || string_agg(' ' || replace(numbered.id::text, '-', ''), ''))
     FROM (SELECT added.session_id, added.id, row_number() OVER (PARTITION BY added.session_id) AS place
             FROM added
            WHERE added.session_id <> ALL (great_many)) AS numbered
    GROUP BY numbered.session_id, (numbered.place - 1) / 200;
  RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION readside.events_updated() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
  -- A changed session_id touches two sessions.
  touched uuid[] := ARRAY(SELECT removed.session_id FROM removed UNION SELECT added.session_id FROM added LIMIT 5001);
BEGIN
  IF cardinality(touched) > 5000 THEN
    PERFORM pg_notify('readside', 'x');
  ELSIF cardinality(touched) > 0 THEN
    PERFORM pg_notify('readside', 'l' || string_agg(' ' || named.session_id::text, ''))
       FROM unnest(touched) WITH ORDINALITY AS named (session_id, place)
      GROUP BY (named.place - 1) / 200;
  END IF;
  RETURN NULL;
END
$$;

-- Runs for the cascade of deleted sessions too: once a statement, with all the events that went.
CREATE OR REPLACE FUNCTION readside.events_deleted() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
  touched uuid[] := ARRAY(SELECT DISTINCT removed.session_id FROM removed LIMIT 5001);
BEGIN
  IF cardinality(touched) > 5000 THEN
    PERFORM pg_notify('readside', 'x');
  ELSIF cardinality(touched) > 0 THEN
    PERFORM pg_notify('readside', 'l' || string_agg(' ' || named.session_id::text, ''))
       FROM unnest(touched) WITH ORDINALITY AS named (session_id, place)
      GROUP BY (named.place - 1) / 200;
  END IF;
  RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION readside.sessions_inserted() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
  made uuid[] := ARRAY(SELECT added.id FROM added LIMIT 5001);
BEGIN
  IF cardinality(made) > 5000 THEN
    PERFORM pg_notify('readside', 'x');
  ELSIF cardinality(made) > 0 THEN
    PERFORM pg_notify('readside', 'n' || string_agg(' ' || named.session_id::text, ''))
       FROM unnest(made) WITH ORDINALITY AS named (session_id, place)
      GROUP BY (named.place - 1) / 200;
  END IF;
  RETURN NULL;
END
$$;

-- For each row. The test stands here and not in a WHEN of the trigger: that would forbid their migrations to alter the
-- type of the columns it names ("cannot alter type of a column used in a trigger definition").
CREATE OR REPLACE FUNCTION readside.sessions_updated() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF OLD.id <> NEW.id THEN
    PERFORM pg_notify('readside', 'l ' || OLD.id::text || ' ' || NEW.id::text);
  ELSIF OLD.status IS DISTINCT FROM NEW.status THEN
    PERFORM pg_notify('readside', 'r ' || NEW.id::text);
  END IF;
  RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION readside.sessions_deleted() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
  gone uuid[] := ARRAY(SELECT removed.id FROM removed LIMIT 5001);
BEGIN
  IF cardinality(gone) > 5000 THEN
    PERFORM pg_notify('readside', 'x');
  ELSIF cardinality(gone) > 0 THEN
    PERFORM pg_notify('readside', 'l' || string_agg(' ' || named.session_id::text, ''))
       FROM unnest(gone) WITH ORDINALITY AS named (session_id, place)
      GROUP BY (named.place - 1) / 200;
  END IF;
  RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION readside.truncated() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_notify('readside', 'x');
  RETURN NULL;
END
$$;

-- The tables last, and sessions first as writers do it: from here on the locks are held. The tables are those that the
-- search_path finds.
CREATE OR REPLACE TRIGGER readside_insert AFTER INSERT ON sessions
  REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION readside.sessions_inserted();
CREATE OR REPLACE TRIGGER readside_update AFTER UPDATE ON sessions
  FOR EACH ROW EXECUTE FUNCTION readside.sessions_updated();
CREATE OR REPLACE TRIGGER readside_delete AFTER DELETE ON sessions
  REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION readside.sessions_deleted();
CREATE OR REPLACE TRIGGER readside_truncate AFTER TRUNCATE ON sessions
  FOR EACH STATEMENT EXECUTE FUNCTION readside.truncated();

CREATE OR REPLACE TRIGGER readside_insert AFTER INSERT ON events
  REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION readside.events_inserted();
CREATE OR REPLACE TRIGGER readside_update AFTER UPDATE ON events
  REFERENCING OLD TABLE AS removed NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION readside.events_updated();
CREATE OR REPLACE TRIGGER readside_delete AFTER DELETE ON events
  REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION readside.events_deleted();
CREATE OR REPLACE TRIGGER readside_truncate AFTER TRUNCATE ON events
  FOR EACH STATEMENT EXECUTE FUNCTION readside.truncated();

-- ALWAYS, since session_replication_role = replica would skip them otherwise.
ALTER TABLE sessions
  ENABLE ALWAYS TRIGGER readside_insert, ENABLE ALWAYS TRIGGER readside_update,
  ENABLE ALWAYS TRIGGER readside_delete, ENABLE ALWAYS TRIGGER readside_truncate;
ALTER TABLE events
  ENABLE ALWAYS TRIGGER readside_insert, ENABLE ALWAYS TRIGGER readside_update,
  ENABLE ALWAYS TRIGGER readside_delete, ENABLE ALWAYS TRIGGER readside_truncate;
