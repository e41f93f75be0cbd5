-- All that readside installs lives in this schema, but for the triggers themselves. Writers need no right to it.
-- This runs after triggers_opening.sql, so under search_path = pg_catalog, pg_temp: nothing of anybody's is run here.

-- Nothing that somebody else made beforehand is taken over: it would run with the rights of the owner of events.
DO $$
DECLARE
  sessions oid := nullif(current_setting('readside.sessions'), '')::oid;
  events oid := nullif(current_setting('readside.events'), '')::oid;
  tables_owner oid := (SELECT relowner FROM pg_class WHERE oid = events);
  stranger text;
BEGIN
  IF sessions IS NULL OR events IS NULL THEN
    RAISE undefined_table USING MESSAGE = 'the search_path holds no tables sessions and events';
  END IF;
  SELECT strangers.sentence INTO stranger FROM ({strangers}) AS strangers LIMIT 1;
  IF stranger IS NOT NULL THEN
    RAISE insufficient_privilege USING MESSAGE = stranger;
  END IF;
  IF to_regnamespace('{schema}') IS NULL THEN
    CREATE SCHEMA "{schema}";
  END IF;
  IF (SELECT nspowner FROM pg_namespace WHERE nspname = '{schema}') <> tables_owner THEN
    EXECUTE format('ALTER SCHEMA "{schema}" OWNER TO %I', pg_get_userbyid(tables_owner));
  END IF;
END
$$;

-- What a statement did goes into the letters' table in use, one row a letter:
--
--   a  an event was added (session, event)
--   l  look at this session: something else happened to its events or its row
--   n  a new session
--   r  the status of this session changed
--   x  too much to name: compare everything
--
-- presence says whether anybody reads them: lease_until_ms * 8 + turn * 2 + ring. Past the lease nothing is written, and
-- skips counts it; the lock that nextval takes on skips stays to the end of the top-level transaction, for all to see.
--
-- The functions run with the rights of the owner of events (SECURITY DEFINER) under the writer's search_path: a SET
-- clause costs a writer 2 to 3 % of its rate. So every function, type and operator is qualified, and nothing is used that
-- looks an operator up by itself (IS DISTINCT FROM, IN, BETWEEN, NULLIF, CASE x WHEN). Only "added" (new rows), "removed"
-- (old rows) and names of WITH stand alone: they come before any relation.

-- The first thousand rows are named at once: the hot case is one row. LIMIT bounds the cost of the plan, which stays for
-- the connection: one made for a huge statement would be compiled (JIT) for each small one after it. What needs grouping
-- is planned anew each time (EXECUTE). Letters that say again what is said already do no harm.
--
-- What counts is the work of one small transaction: plpgsql prepares each of its expressions anew in each transaction, and
-- a column of another type than the table's costs the plan one more node.
CREATE OR REPLACE FUNCTION "{schema}".events_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_variable
DECLARE
  presence pg_catalog.int8 := pg_catalog.pg_sequence_last_value('{schema}.presence'::pg_catalog.regclass);
  written pg_catalog.int8;
BEGIN
  IF presence IS NULL OR presence OPERATOR(pg_catalog.<)
     (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 8000::pg_catalog.float8) THEN
    presence := pg_catalog.nextval('{schema}.skips'::pg_catalog.regclass);
    RETURN NULL;
  END IF;
  IF (presence OPERATOR(pg_catalog.&) 6) OPERATOR(pg_catalog.=) 0 THEN
    INSERT INTO "{schema}".letters_0 (txid, kind, session_id, event_id)
    SELECT pg_catalog.pg_current_xact_id(), 'a'::pg_catalog."char", added.session_id, added.id FROM added LIMIT 1001;
  ELSIF (presence OPERATOR(pg_catalog.&) 6) OPERATOR(pg_catalog.=) 2 THEN
    INSERT INTO "{schema}".letters_1 (txid, kind, session_id, event_id)
    SELECT pg_catalog.pg_current_xact_id(), 'a'::pg_catalog."char", added.session_id, added.id FROM added LIMIT 1001;
  ELSE
    INSERT INTO "{schema}".letters_2 (txid, kind, session_id, event_id)
    SELECT pg_catalog.pg_current_xact_id(), 'a'::pg_catalog."char", added.session_id, added.id FROM added LIMIT 1001;
  END IF;
  GET DIAGNOSTICS written = ROW_COUNT;
  IF written OPERATOR(pg_catalog.<=) 1000 AND (presence OPERATOR(pg_catalog.&) 1) OPERATOR(pg_catalog.=) 0 THEN
    RETURN NULL;  -- as nearly always under load
  END IF;

  -- Past 1,000 new events of one session it is cheaper to read the session again than to name them.
  IF written OPERATOR(pg_catalog.>) 1000 THEN
    EXECUTE pg_catalog.concat('
      WITH per_session AS MATERIALIZED (
        SELECT added.session_id, pg_catalog.count(*) AS events FROM added GROUP BY added.session_id
      ), bound AS MATERIALIZED (
        SELECT pg_catalog.count(*) OPERATOR(pg_catalog.>) 5000 AS is_passed FROM per_session
      )
      INSERT INTO "{schema}".letters_', LEAST((presence OPERATOR(pg_catalog.>>) 1) OPERATOR(pg_catalog.&) 3, 2), ' (txid, kind, session_id, event_id)
      SELECT pg_catalog.pg_current_xact_id(), ''x''::pg_catalog."char", NULL::pg_catalog.uuid, NULL::pg_catalog.uuid
        FROM bound WHERE bound.is_passed
      UNION ALL
      SELECT pg_catalog.pg_current_xact_id(), ''l''::pg_catalog."char", per_session.session_id, NULL::pg_catalog.uuid
        FROM per_session CROSS JOIN bound
       WHERE per_session.events OPERATOR(pg_catalog.>) 1000 AND NOT bound.is_passed
      UNION ALL
      SELECT pg_catalog.pg_current_xact_id(), ''a''::pg_catalog."char", added.session_id, added.id
        FROM added CROSS JOIN bound
        JOIN per_session ON per_session.session_id OPERATOR(pg_catalog.=) added.session_id
       WHERE per_session.events OPERATOR(pg_catalog.<=) 1000 AND NOT bound.is_passed');
  END IF;
  IF written OPERATOR(pg_catalog.>) 0 AND (presence OPERATOR(pg_catalog.&) 1) OPERATOR(pg_catalog.=) 1 THEN
    PERFORM pg_catalog.pg_notify('{schema}', '');
  END IF;
  RETURN NULL;
END
$$;

-- A changed session_id touches two sessions.
CREATE OR REPLACE FUNCTION "{schema}".events_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_variable
DECLARE
  presence pg_catalog.int8 := pg_catalog.pg_sequence_last_value('{schema}.presence'::pg_catalog.regclass);
  turn pg_catalog.int8 := LEAST((presence OPERATOR(pg_catalog.>>) 1) OPERATOR(pg_catalog.&) 3, 2);
  written pg_catalog.int8;
BEGIN
  IF presence IS NULL OR presence OPERATOR(pg_catalog.<)
     (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 8000::pg_catalog.float8) THEN
    PERFORM pg_catalog.nextval('{schema}.skips'::pg_catalog.regclass);
    RETURN NULL;
  END IF;
  EXECUTE pg_catalog.concat('
    INSERT INTO "{schema}".letters_', turn, ' (txid, kind, session_id)
    SELECT pg_catalog.pg_current_xact_id(), ''l'', touched.session_id
      FROM (SELECT removed.session_id FROM removed UNION SELECT added.session_id FROM added LIMIT 5001) AS touched');
  GET DIAGNOSTICS written = ROW_COUNT;
  IF written OPERATOR(pg_catalog.>) 5000 THEN
    EXECUTE pg_catalog.concat('INSERT INTO "{schema}".letters_', turn,
                              ' (txid, kind) VALUES (pg_catalog.pg_current_xact_id(), ''x'')');
  END IF;
  IF written OPERATOR(pg_catalog.>) 0 AND (presence OPERATOR(pg_catalog.&) 1) OPERATOR(pg_catalog.=) 1 THEN
    PERFORM pg_catalog.pg_notify('{schema}', '');
  END IF;
  RETURN NULL;
END
$$;

-- Runs for the cascade of deleted sessions too: once a statement, with all the events that went.
CREATE OR REPLACE FUNCTION "{schema}".events_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_variable
DECLARE
  presence pg_catalog.int8 := pg_catalog.pg_sequence_last_value('{schema}.presence'::pg_catalog.regclass);
  turn pg_catalog.int8 := LEAST((presence OPERATOR(pg_catalog.>>) 1) OPERATOR(pg_catalog.&) 3, 2);
  written pg_catalog.int8;
BEGIN
  IF presence IS NULL OR presence OPERATOR(pg_catalog.<)
     (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 8000::pg_catalog.float8) THEN
    PERFORM pg_catalog.nextval('{schema}.skips'::pg_catalog.regclass);
    RETURN NULL;
  END IF;
  EXECUTE pg_catalog.concat('
    INSERT INTO "{schema}".letters_', turn, ' (txid, kind, session_id)
    SELECT pg_catalog.pg_current_xact_id(), ''l'', touched.session_id
      FROM (SELECT DISTINCT removed.session_id FROM removed LIMIT 5001) AS touched');
  GET DIAGNOSTICS written = ROW_COUNT;
  IF written OPERATOR(pg_catalog.>) 5000 THEN
    EXECUTE pg_catalog.concat('INSERT INTO "{schema}".letters_', turn,
                              ' (txid, kind) VALUES (pg_catalog.pg_current_xact_id(), ''x'')');
  END IF;
  IF written OPERATOR(pg_catalog.>) 0 AND (presence OPERATOR(pg_catalog.&) 1) OPERATOR(pg_catalog.=) 1 THEN
    PERFORM pg_catalog.pg_notify('{schema}', '');
  END IF;
  RETURN NULL;
END
$$;

-- For each row of a partition that has no statement triggers of ours. A row trigger on a partitioned table is the one kind
-- that Postgres puts by itself on each partition that is made or attached, in that very transaction. Who writes through the
-- parent is told of twice there, which does no harm. A row that moves between partitions goes and comes.
-- Before an update it is called for each row of every partition: what a MERGE moves to another is in no transition table, nor is
-- it an update afterwards. Hence NEW is what it returns.
CREATE OR REPLACE FUNCTION "{schema}".events_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_variable
DECLARE
  presence pg_catalog.int8 := pg_catalog.pg_sequence_last_value('{schema}.presence'::pg_catalog.regclass);
BEGIN
  IF presence IS NULL OR presence OPERATOR(pg_catalog.<)
     (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 8000::pg_catalog.float8) THEN
    presence := pg_catalog.nextval('{schema}.skips'::pg_catalog.regclass);
    RETURN NEW;
  END IF;
  IF TG_OP OPERATOR(pg_catalog.=) 'INSERT' THEN
    IF (presence OPERATOR(pg_catalog.&) 6) OPERATOR(pg_catalog.=) 0 THEN
      INSERT INTO "{schema}".letters_0 (txid, kind, session_id, event_id)
      VALUES (pg_catalog.pg_current_xact_id(), 'a', NEW.session_id, NEW.id);
    ELSIF (presence OPERATOR(pg_catalog.&) 6) OPERATOR(pg_catalog.=) 2 THEN
      INSERT INTO "{schema}".letters_1 (txid, kind, session_id, event_id)
      VALUES (pg_catalog.pg_current_xact_id(), 'a', NEW.session_id, NEW.id);
    ELSE
      INSERT INTO "{schema}".letters_2 (txid, kind, session_id, event_id)
      VALUES (pg_catalog.pg_current_xact_id(), 'a', NEW.session_id, NEW.id);
    END IF;
  ELSE
    IF (presence OPERATOR(pg_catalog.&) 6) OPERATOR(pg_catalog.=) 0 THEN
      INSERT INTO "{schema}".letters_0 (txid, kind, session_id)
      VALUES (pg_catalog.pg_current_xact_id(), 'l', OLD.session_id);
    ELSIF (presence OPERATOR(pg_catalog.&) 6) OPERATOR(pg_catalog.=) 2 THEN
      INSERT INTO "{schema}".letters_1 (txid, kind, session_id)
      VALUES (pg_catalog.pg_current_xact_id(), 'l', OLD.session_id);
    ELSE
      INSERT INTO "{schema}".letters_2 (txid, kind, session_id)
      VALUES (pg_catalog.pg_current_xact_id(), 'l', OLD.session_id);
    END IF;
    IF TG_OP OPERATOR(pg_catalog.=) 'UPDATE' AND OLD.session_id OPERATOR(pg_catalog.<>) NEW.session_id THEN
      EXECUTE pg_catalog.concat('INSERT INTO "{schema}".letters_',
                                LEAST((presence OPERATOR(pg_catalog.>>) 1) OPERATOR(pg_catalog.&) 3, 2),
                                ' (txid, kind, session_id) VALUES (pg_catalog.pg_current_xact_id(), ''l'', $1)')
        USING NEW.session_id;
    END IF;
  END IF;
  IF (presence OPERATOR(pg_catalog.&) 1) OPERATOR(pg_catalog.=) 1 THEN
    PERFORM pg_catalog.pg_notify('{schema}', '');
  END IF;
  RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION "{schema}".sessions_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_variable
DECLARE
  presence pg_catalog.int8 := pg_catalog.pg_sequence_last_value('{schema}.presence'::pg_catalog.regclass);
  turn pg_catalog.int8 := LEAST((presence OPERATOR(pg_catalog.>>) 1) OPERATOR(pg_catalog.&) 3, 2);
  written pg_catalog.int8;
BEGIN
  IF presence IS NULL OR presence OPERATOR(pg_catalog.<)
     (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 8000::pg_catalog.float8) THEN
    PERFORM pg_catalog.nextval('{schema}.skips'::pg_catalog.regclass);
    RETURN NULL;
  END IF;
  IF (presence OPERATOR(pg_catalog.&) 6) OPERATOR(pg_catalog.=) 0 THEN
    INSERT INTO "{schema}".letters_0 (txid, kind, session_id)
    SELECT pg_catalog.pg_current_xact_id(), 'n', added.id FROM added LIMIT 5001;
  ELSIF (presence OPERATOR(pg_catalog.&) 6) OPERATOR(pg_catalog.=) 2 THEN
    INSERT INTO "{schema}".letters_1 (txid, kind, session_id)
    SELECT pg_catalog.pg_current_xact_id(), 'n', added.id FROM added LIMIT 5001;
  ELSE
    INSERT INTO "{schema}".letters_2 (txid, kind, session_id)
    SELECT pg_catalog.pg_current_xact_id(), 'n', added.id FROM added LIMIT 5001;
  END IF;
  GET DIAGNOSTICS written = ROW_COUNT;
  IF written OPERATOR(pg_catalog.>) 5000 THEN
    EXECUTE pg_catalog.concat('INSERT INTO "{schema}".letters_', turn,
                              ' (txid, kind) VALUES (pg_catalog.pg_current_xact_id(), ''x'')');
  END IF;
  IF written OPERATOR(pg_catalog.>) 0 AND (presence OPERATOR(pg_catalog.&) 1) OPERATOR(pg_catalog.=) 1 THEN
    PERFORM pg_catalog.pg_notify('{schema}', '');
  END IF;
  RETURN NULL;
END
$$;

-- For each row. The test stands here and not in a WHEN of the trigger: that would forbid their migrations to alter the
-- type of the columns it names ("cannot alter type of a column used in a trigger definition"). Collation C: a change
-- that their collation calls none is one.
CREATE OR REPLACE FUNCTION "{schema}".sessions_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_variable
DECLARE
  presence pg_catalog.int8;
BEGIN
  IF OLD.id OPERATOR(pg_catalog.=) NEW.id
     AND (OLD.status IS NULL) OPERATOR(pg_catalog.=) (NEW.status IS NULL)
     AND (OLD.status IS NULL OR (OLD.status::pg_catalog.text COLLATE pg_catalog."C")
                                OPERATOR(pg_catalog.=) (NEW.status::pg_catalog.text COLLATE pg_catalog."C")) THEN
    RETURN NULL;
  END IF;
  presence := pg_catalog.pg_sequence_last_value('{schema}.presence'::pg_catalog.regclass);
  IF presence IS NULL OR presence OPERATOR(pg_catalog.<)
     (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 8000::pg_catalog.float8) THEN
    PERFORM pg_catalog.nextval('{schema}.skips'::pg_catalog.regclass);
    RETURN NULL;
  END IF;
  IF OLD.id OPERATOR(pg_catalog.=) NEW.id THEN
    IF (presence OPERATOR(pg_catalog.&) 6) OPERATOR(pg_catalog.=) 0 THEN
      INSERT INTO "{schema}".letters_0 (txid, kind, session_id)
      VALUES (pg_catalog.pg_current_xact_id(), 'r', NEW.id);
    ELSIF (presence OPERATOR(pg_catalog.&) 6) OPERATOR(pg_catalog.=) 2 THEN
      INSERT INTO "{schema}".letters_1 (txid, kind, session_id)
      VALUES (pg_catalog.pg_current_xact_id(), 'r', NEW.id);
    ELSE
      INSERT INTO "{schema}".letters_2 (txid, kind, session_id)
      VALUES (pg_catalog.pg_current_xact_id(), 'r', NEW.id);
    END IF;
  ELSE
    EXECUTE pg_catalog.concat('INSERT INTO "{schema}".letters_',
                              LEAST((presence OPERATOR(pg_catalog.>>) 1) OPERATOR(pg_catalog.&) 3, 2),
                              ' (txid, kind, session_id) VALUES (pg_catalog.pg_current_xact_id(), ''l'', $1), '
                              '(pg_catalog.pg_current_xact_id(), ''l'', $2)')
      USING OLD.id, NEW.id;
  END IF;
  IF (presence OPERATOR(pg_catalog.&) 1) OPERATOR(pg_catalog.=) 1 THEN
    PERFORM pg_catalog.pg_notify('{schema}', '');
  END IF;
  RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION "{schema}".sessions_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_variable
DECLARE
  presence pg_catalog.int8 := pg_catalog.pg_sequence_last_value('{schema}.presence'::pg_catalog.regclass);
  turn pg_catalog.int8 := LEAST((presence OPERATOR(pg_catalog.>>) 1) OPERATOR(pg_catalog.&) 3, 2);
  written pg_catalog.int8;
BEGIN
  IF presence IS NULL OR presence OPERATOR(pg_catalog.<)
     (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 8000::pg_catalog.float8) THEN
    PERFORM pg_catalog.nextval('{schema}.skips'::pg_catalog.regclass);
    RETURN NULL;
  END IF;
  IF (presence OPERATOR(pg_catalog.&) 6) OPERATOR(pg_catalog.=) 0 THEN
    INSERT INTO "{schema}".letters_0 (txid, kind, session_id)
    SELECT pg_catalog.pg_current_xact_id(), 'l', removed.id FROM removed LIMIT 5001;
  ELSIF (presence OPERATOR(pg_catalog.&) 6) OPERATOR(pg_catalog.=) 2 THEN
    INSERT INTO "{schema}".letters_1 (txid, kind, session_id)
    SELECT pg_catalog.pg_current_xact_id(), 'l', removed.id FROM removed LIMIT 5001;
  ELSE
    INSERT INTO "{schema}".letters_2 (txid, kind, session_id)
    SELECT pg_catalog.pg_current_xact_id(), 'l', removed.id FROM removed LIMIT 5001;
  END IF;
  GET DIAGNOSTICS written = ROW_COUNT;
  IF written OPERATOR(pg_catalog.>) 5000 THEN
    EXECUTE pg_catalog.concat('INSERT INTO "{schema}".letters_', turn,
                              ' (txid, kind) VALUES (pg_catalog.pg_current_xact_id(), ''x'')');
  END IF;
  IF written OPERATOR(pg_catalog.>) 0 AND (presence OPERATOR(pg_catalog.&) 1) OPERATOR(pg_catalog.=) 1 THEN
    PERFORM pg_catalog.pg_notify('{schema}', '');
  END IF;
  RETURN NULL;
END
$$;

-- For each row of a partition of sessions that came or went; one that moves between partitions does both.
CREATE OR REPLACE FUNCTION "{schema}".sessions_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_variable
DECLARE
  presence pg_catalog.int8 := pg_catalog.pg_sequence_last_value('{schema}.presence'::pg_catalog.regclass);
BEGIN
  IF presence IS NULL OR presence OPERATOR(pg_catalog.<)
     (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 8000::pg_catalog.float8) THEN
    PERFORM pg_catalog.nextval('{schema}.skips'::pg_catalog.regclass);
    RETURN NULL;
  END IF;
  IF TG_OP OPERATOR(pg_catalog.=) 'INSERT' THEN
    EXECUTE pg_catalog.concat('INSERT INTO "{schema}".letters_',
                              LEAST((presence OPERATOR(pg_catalog.>>) 1) OPERATOR(pg_catalog.&) 3, 2),
                              ' (txid, kind, session_id) VALUES (pg_catalog.pg_current_xact_id(), ''n'', $1)')
      USING NEW.id;
  ELSE
    EXECUTE pg_catalog.concat('INSERT INTO "{schema}".letters_',
                              LEAST((presence OPERATOR(pg_catalog.>>) 1) OPERATOR(pg_catalog.&) 3, 2),
                              ' (txid, kind, session_id) VALUES (pg_catalog.pg_current_xact_id(), ''l'', $1)')
      USING OLD.id;
  END IF;
  IF (presence OPERATOR(pg_catalog.&) 1) OPERATOR(pg_catalog.=) 1 THEN
    PERFORM pg_catalog.pg_notify('{schema}', '');
  END IF;
  RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION "{schema}".truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_variable
DECLARE
  presence pg_catalog.int8 := pg_catalog.pg_sequence_last_value('{schema}.presence'::pg_catalog.regclass);
  turn pg_catalog.int8 := LEAST((presence OPERATOR(pg_catalog.>>) 1) OPERATOR(pg_catalog.&) 3, 2);
BEGIN
  IF presence IS NULL OR presence OPERATOR(pg_catalog.<)
     (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 8000::pg_catalog.float8) THEN
    PERFORM pg_catalog.nextval('{schema}.skips'::pg_catalog.regclass);
    RETURN NULL;
  END IF;
  EXECUTE pg_catalog.concat('INSERT INTO "{schema}".letters_', turn,
                            ' (txid, kind) VALUES (pg_catalog.pg_current_xact_id(), ''x'')');
  IF (presence OPERATOR(pg_catalog.&) 1) OPERATOR(pg_catalog.=) 1 THEN
    PERFORM pg_catalog.pg_notify('{schema}', '');
  END IF;
  RETURN NULL;
END
$$;

-- The leader empties the table that it left, in one call: a client that freezes holds no lock then. Under READ COMMITTED
-- alone, since what is checked must be looked at after the lock: an older snapshot would not see the last letters. The
-- index must be used, for the lock is held meanwhile, and a young table has no statistics. A letter that came in a dump of
-- another cluster may bear an id that is not reached here: it goes.
CREATE OR REPLACE FUNCTION "{schema}".empty_letters(turn integer, me bigint, seen pg_snapshot) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  presence bigint;
  may_go boolean;
BEGIN
  IF turn IS NULL OR turn NOT IN (0, 1, 2) OR me IS NULL OR seen IS NULL
     OR current_setting('transaction_isolation') <> 'read committed' THEN
    RETURN false;
  END IF;
  BEGIN
    EXECUTE format('LOCK TABLE "{schema}".letters_%s IN ACCESS EXCLUSIVE MODE NOWAIT', turn);
  EXCEPTION WHEN lock_not_available THEN
    RETURN false;
  END;
  presence := pg_sequence_last_value('{schema}.presence'::regclass);
  IF presence IS NULL OR (presence >> 1) & 3 = turn OR (SELECT last_value FROM "{schema}".reader) <> me THEN
    RETURN false;
  END IF;
  EXECUTE format('
    SELECT NOT EXISTS (SELECT FROM "{schema}".letters_%1$s
                        WHERE txid >= pg_snapshot_xmax($1) AND txid < pg_snapshot_xmax(pg_current_snapshot()))
       AND NOT EXISTS (SELECT FROM "{schema}".letters_%1$s WHERE txid = ANY (ARRAY(SELECT pg_snapshot_xip($1))))', turn)
    INTO may_go USING seen;
  IF may_go THEN
    EXECUTE format('TRUNCATE "{schema}".letters_%s', turn);
  END IF;
  RETURN may_go;
END
$$;

-- A partition that came after the installation is seen row by row. This gives it the statement triggers that the others
-- have, and has its row trigger rest. One that was detached is none of ours any more: its triggers go, since they would
-- fail its writers once its columns are others. It waits 0.1 s for a lock, unless the caller has it: so long may writers
-- wait. Who leads calls it, so that no partition has to be installed by hand.
CREATE OR REPLACE FUNCTION "{schema}".adopt_partition(part oid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = 100 AS $$
DECLARE
  named regclass := part;
  is_new boolean;
  change text;
BEGIN
  FOR look IN 1..2 LOOP
    WITH RECURSIVE line AS (
      SELECT inhparent AS oid FROM pg_inherits WHERE inhrelid = part AND NOT inhdetachpending
      UNION ALL
      SELECT inhparent FROM line JOIN pg_inherits ON inhrelid = line.oid AND NOT inhdetachpending
    ), quick AS (
      SELECT tgrelid, tgenabled FROM pg_trigger
       WHERE tgfoid IN ('"{schema}".events_inserted()'::regprocedure, '"{schema}".events_updated()'::regprocedure,
                        '"{schema}".events_deleted()'::regprocedure)
    ), root AS (
      SELECT tgrelid FROM pg_trigger
       WHERE tgrelid IN (SELECT line.oid FROM line) AND tgparentid = 0
         AND tgfoid = '"{schema}".events_row()'::regprocedure
    )
    SELECT CASE
      -- What it is a part of first: a statement that names that is seen by nothing else once the row trigger rests.
      WHEN EXISTS (SELECT FROM root) AND NOT EXISTS (
        SELECT FROM line WHERE line.oid NOT IN (SELECT root.tgrelid FROM root)
           AND 3 > (SELECT count(*) FROM quick WHERE quick.tgrelid = line.oid AND quick.tgenabled = 'A')) THEN true
      -- Who truncates is told of on a table that we were installed on.
      WHEN NOT EXISTS (SELECT FROM root) AND EXISTS (SELECT FROM quick WHERE quick.tgrelid = part)
       AND NOT EXISTS (SELECT FROM pg_trigger
                        WHERE tgrelid = part AND tgfoid = '"{schema}".truncated()'::regprocedure) THEN false
      END INTO is_new;
    IF is_new IS NULL THEN
      RETURN false;
    END IF;
    EXIT WHEN look = 2;
    -- Neither is it attached or detached from here on, nor what it is a part of: that writes the same rows of pg_trigger.
    FOR change IN
      WITH RECURSIVE line AS (
        SELECT part AS oid, 0 AS height
        UNION ALL
        SELECT inhparent, height + 1 FROM line JOIN pg_inherits ON inhrelid = line.oid
      )
      SELECT format('LOCK TABLE ONLY %s IN %s MODE', oid::regclass,
                    CASE WHEN height > 0 THEN 'ACCESS SHARE' ELSE 'SHARE ROW EXCLUSIVE' END)
        FROM line ORDER BY height DESC
    LOOP
      EXECUTE change;
    END LOOP;
  END LOOP;
  -- A table that we were installed on before it became a part tells of TRUNCATE too: that is seen without.
  FOR change IN
    SELECT format('DROP TRIGGER %I ON %s', tgname, named) FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
     WHERE tgrelid = part AND pronamespace = to_regnamespace('{schema}') AND tgparentid = 0
       AND (proname = 'truncated' OR NOT is_new)
  LOOP
    EXECUTE change;
  END LOOP;
  IF NOT is_new THEN
    RETURN true;
  END IF;
  EXECUTE format('CREATE OR REPLACE TRIGGER {schema}_insert AFTER INSERT ON %s
                  REFERENCING NEW TABLE AS added FOR EACH STATEMENT
                  EXECUTE FUNCTION "{schema}".events_inserted()', named);
  EXECUTE format('CREATE OR REPLACE TRIGGER {schema}_update AFTER UPDATE ON %s
                  REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT
                  EXECUTE FUNCTION "{schema}".events_updated()', named);
  EXECUTE format('CREATE OR REPLACE TRIGGER {schema}_delete AFTER DELETE ON %s
                  REFERENCING OLD TABLE AS removed FOR EACH STATEMENT
                  EXECUTE FUNCTION "{schema}".events_deleted()', named);
  EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER {schema}_insert, ENABLE ALWAYS TRIGGER {schema}_update,
                  ENABLE ALWAYS TRIGGER {schema}_delete', named);
  IF (SELECT relkind FROM pg_class WHERE oid = part) = 'r' THEN
    EXECUTE format('ALTER TABLE ONLY %s DISABLE TRIGGER {schema}_row', named);
  END IF;
  RETURN true;
END
$$;

-- ENABLE TRIGGER, as after pg_restore --disable-triggers, leaves triggers that session_replication_role = replica skips.
-- This makes those of ours fire always again; one that is disabled stays so. Who leads calls it, before it reads anything.
CREATE OR REPLACE FUNCTION "{schema}".fire_always() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = 100 AS $$
DECLARE
  stale record;
  mended boolean := false;
BEGIN
  FOR stale IN
    SELECT format('ALTER TABLE ONLY %s %s', pg_class.oid::regclass,
                  string_agg(format('ENABLE ALWAYS TRIGGER %I', tgname), ', ' ORDER BY tgname)) AS statement
      FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid JOIN pg_class ON pg_class.oid = tgrelid
     WHERE pronamespace = to_regnamespace('{schema}') AND tgenabled = 'O' AND pg_has_role(relowner, 'USAGE')
     GROUP BY pg_class.oid ORDER BY relname <> 'sessions', pg_class.oid
  LOOP
    EXECUTE stale.statement;
    mended := true;
  END LOOP;
  RETURN mended;
END
$$;

-- A number of this server's life, between two crashes: transaction ids of before a crash or a promotion may be used again for
-- what is another transaction then. Either empties the unlogged sequence, and who asks next draws a new one. Two that ask at
-- once get the same: the second one waits for the first, by a lock that only who owns the letters can take, and that neither
-- writers nor readers of letters wait for. What is drawn holds at once, whatever becomes of the transaction.
CREATE OR REPLACE FUNCTION "{schema}".incarnation() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  known bigint;
BEGIN
  IF pg_is_in_recovery() THEN
    RETURN NULL;
  END IF;
  known := pg_sequence_last_value('{schema}.incarnation'::regclass);
  IF known IS NULL THEN
    LOCK TABLE "{schema}".letters_0 IN SHARE UPDATE EXCLUSIVE MODE;
    known := pg_sequence_last_value('{schema}.incarnation'::regclass);
  END IF;
  IF known IS NULL THEN
    known := setval('{schema}.incarnation', ('x' || left(replace(gen_random_uuid()::text, '-', ''), 12))::bit(48)::bigint);
  END IF;
  RETURN known;
END
$$;

-- The tables last, and sessions first as writers do it: from here on the locks are held.
DO $$
BEGIN
  EXECUTE format('LOCK TABLE ONLY %s, ONLY %s IN SHARE ROW EXCLUSIVE MODE',
                 current_setting('readside.sessions')::oid::regclass, current_setting('readside.events')::oid::regclass);
END
$$;

-- Unlogged: a crash of the server empties them and resets presence, and whoever reads compares everything then.
-- Autovacuum is off since they are emptied by TRUNCATE.
CREATE UNLOGGED TABLE IF NOT EXISTS "{schema}".letters_0 (
  txid xid8 NOT NULL, kind "char" NOT NULL, session_id uuid, event_id uuid
) USING heap WITH (autovacuum_enabled = off);
CREATE INDEX IF NOT EXISTS letters_0_txid ON "{schema}".letters_0 (txid);
CREATE UNLOGGED TABLE IF NOT EXISTS "{schema}".letters_1 (
  txid xid8 NOT NULL, kind "char" NOT NULL, session_id uuid, event_id uuid
) USING heap WITH (autovacuum_enabled = off);
CREATE INDEX IF NOT EXISTS letters_1_txid ON "{schema}".letters_1 (txid);
CREATE UNLOGGED TABLE IF NOT EXISTS "{schema}".letters_2 (
  txid xid8 NOT NULL, kind "char" NOT NULL, session_id uuid, event_id uuid
) USING heap WITH (autovacuum_enabled = off);
CREATE INDEX IF NOT EXISTS letters_2_txid ON "{schema}".letters_2 (txid);
CREATE UNLOGGED SEQUENCE IF NOT EXISTS "{schema}".presence MINVALUE 0;
CREATE UNLOGGED SEQUENCE IF NOT EXISTS "{schema}".skips;
CREATE UNLOGGED SEQUENCE IF NOT EXISTS "{schema}".reader MINVALUE 0;
CREATE UNLOGGED SEQUENCE IF NOT EXISTS "{schema}".incarnation MINVALUE 0;

-- All of it belongs to the owner of events, whoever installs: else that owner could run code of its own with the rights
-- of who installed, by a type of a column, say. Nobody else may call or write anything; writers need not.
DO $$
DECLARE
  tables_owner text := (SELECT pg_get_userbyid(relowner) FROM pg_class
                         WHERE oid = current_setting('readside.events')::oid);
  change text;
BEGIN
  FOR change IN
    SELECT format('ALTER TABLE %s OWNER TO %I', oid::regclass, tables_owner) FROM pg_class
     WHERE relnamespace = to_regnamespace('{schema}') AND pg_get_userbyid(relowner) <> tables_owner
       AND relname IN ('letters_0', 'letters_1', 'letters_2', 'presence', 'skips', 'reader', 'incarnation')
    UNION ALL
    SELECT format('ALTER FUNCTION %s OWNER TO %I', oid::regprocedure, tables_owner) FROM pg_proc
     WHERE pronamespace = to_regnamespace('{schema}') AND pg_get_userbyid(proowner) <> tables_owner
       AND proname IN ('events_inserted', 'events_updated', 'events_deleted', 'events_row', 'sessions_inserted',
                       'sessions_updated', 'sessions_deleted', 'sessions_row', 'truncated', 'empty_letters',
                       'adopt_partition', 'fire_always', 'incarnation')
  LOOP
    EXECUTE change;
  END LOOP;
END
$$;
REVOKE ALL ON SCHEMA "{schema}" FROM PUBLIC;
REVOKE ALL ON TABLE "{schema}".letters_0, "{schema}".letters_1, "{schema}".letters_2 FROM PUBLIC;
REVOKE ALL ON SEQUENCE "{schema}".presence, "{schema}".skips, "{schema}".reader, "{schema}".incarnation FROM PUBLIC;
REVOKE ALL ON FUNCTION
  "{schema}".events_inserted(), "{schema}".events_updated(), "{schema}".events_deleted(),
  "{schema}".sessions_inserted(), "{schema}".sessions_updated(), "{schema}".sessions_deleted(),
  "{schema}".events_row(), "{schema}".sessions_row(),
  "{schema}".truncated(), "{schema}".empty_letters(integer, bigint, pg_snapshot),
  "{schema}".adopt_partition(oid), "{schema}".fire_always(), "{schema}".incarnation() FROM PUBLIC;

-- ALWAYS, since session_replication_role = replica would skip them otherwise.
DO $$
DECLARE
  sessions text := current_setting('readside.sessions')::oid::regclass;
  events text := current_setting('readside.events')::oid::regclass;
BEGIN
  EXECUTE format('CREATE OR REPLACE TRIGGER {schema}_insert AFTER INSERT ON %s
                  REFERENCING NEW TABLE AS added FOR EACH STATEMENT
                  EXECUTE FUNCTION "{schema}".sessions_inserted()', sessions);
  EXECUTE format('CREATE OR REPLACE TRIGGER {schema}_update AFTER UPDATE ON %s
                  FOR EACH ROW
                  EXECUTE FUNCTION "{schema}".sessions_updated()', sessions);
  EXECUTE format('CREATE OR REPLACE TRIGGER {schema}_delete AFTER DELETE ON %s
                  REFERENCING OLD TABLE AS removed FOR EACH STATEMENT
                  EXECUTE FUNCTION "{schema}".sessions_deleted()', sessions);
  EXECUTE format('CREATE OR REPLACE TRIGGER {schema}_truncate AFTER TRUNCATE ON %s
                  FOR EACH STATEMENT
                  EXECUTE FUNCTION "{schema}".truncated()', sessions);
  EXECUTE format('CREATE OR REPLACE TRIGGER {schema}_insert AFTER INSERT ON %s
                  REFERENCING NEW TABLE AS added FOR EACH STATEMENT
                  EXECUTE FUNCTION "{schema}".events_inserted()', events);
  EXECUTE format('CREATE OR REPLACE TRIGGER {schema}_update AFTER UPDATE ON %s
                  REFERENCING OLD TABLE AS removed NEW TABLE AS added
                  FOR EACH STATEMENT
                  EXECUTE FUNCTION "{schema}".events_updated()', events);
  EXECUTE format('CREATE OR REPLACE TRIGGER {schema}_delete AFTER DELETE ON %s
                  REFERENCING OLD TABLE AS removed FOR EACH STATEMENT
                  EXECUTE FUNCTION "{schema}".events_deleted()', events);
  EXECUTE format('CREATE OR REPLACE TRIGGER {schema}_truncate AFTER TRUNCATE ON %s
                  FOR EACH STATEMENT
                  EXECUTE FUNCTION "{schema}".truncated()', events);
  EXECUTE format('ALTER TABLE %s
    ENABLE ALWAYS TRIGGER {schema}_insert, ENABLE ALWAYS TRIGGER {schema}_update,
    ENABLE ALWAYS TRIGGER {schema}_delete, ENABLE ALWAYS TRIGGER {schema}_truncate', sessions);
  EXECUTE format('ALTER TABLE %s
    ENABLE ALWAYS TRIGGER {schema}_insert, ENABLE ALWAYS TRIGGER {schema}_update,
    ENABLE ALWAYS TRIGGER {schema}_delete, ENABLE ALWAYS TRIGGER {schema}_truncate', events);
END
$$;

-- Partitions. Postgres puts the row triggers on each, and on each that comes. Partitions of events are adopted after this,
-- one at a time.
DO $$
DECLARE
  sessions regclass := current_setting('readside.sessions')::oid::regclass;
  events regclass := current_setting('readside.events')::oid::regclass;
BEGIN
  IF (SELECT relkind FROM pg_class WHERE oid = sessions) = 'p' THEN
    EXECUTE format('CREATE OR REPLACE TRIGGER {schema}_row AFTER INSERT OR DELETE ON %s
                    FOR EACH ROW EXECUTE FUNCTION "{schema}".sessions_row()', sessions);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER {schema}_row', sessions);
  END IF;
  IF (SELECT relkind FROM pg_class WHERE oid = events) = 'p' THEN
    EXECUTE format('CREATE OR REPLACE TRIGGER {schema}_row AFTER INSERT OR DELETE ON %s
                    FOR EACH ROW EXECUTE FUNCTION "{schema}".events_row()', events);
    EXECUTE format('CREATE OR REPLACE TRIGGER {schema}_move BEFORE UPDATE ON %s
                    FOR EACH ROW EXECUTE FUNCTION "{schema}".events_row()', events);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER {schema}_row, ENABLE ALWAYS TRIGGER {schema}_move', events);
  END IF;
END
$$;
