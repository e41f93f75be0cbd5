-- Who holds the mark of a skipped letter, by virtual transaction (a prepared one has no process): each may still commit
-- what no letter tells of. Prepared transactions all: a crash keeps them and loses their letters.
SELECT DISTINCT virtualtransaction AS holder FROM pg_locks
 WHERE locktype = 'relation' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND relation = '"{schema}".skips'::regclass AND mode = 'RowExclusiveLock' AND granted
UNION
SELECT 'prepared ' || transaction::text FROM pg_prepared_xacts WHERE database = current_database()
