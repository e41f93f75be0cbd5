-- The letters of every transaction that snapshot $1 did not see and this statement does: each once, in whatever order
-- transactions commit. All three tables: who read which one is in use before it changed writes into the one before. A letter
-- that came in a dump of another cluster may bear an id that is not reached here: it says nothing.
SELECT txid, kind, session_id, event_id FROM "{schema}".letters_0 WHERE txid >= pg_snapshot_xmax($1::text::pg_snapshot)
   AND txid < pg_snapshot_xmax(pg_current_snapshot())
UNION ALL
SELECT txid, kind, session_id, event_id FROM "{schema}".letters_0 WHERE txid = ANY (ARRAY(SELECT pg_snapshot_xip($1::text::pg_snapshot)))
UNION ALL
SELECT txid, kind, session_id, event_id FROM "{schema}".letters_1 WHERE txid >= pg_snapshot_xmax($1::text::pg_snapshot)
   AND txid < pg_snapshot_xmax(pg_current_snapshot())
UNION ALL
SELECT txid, kind, session_id, event_id FROM "{schema}".letters_1 WHERE txid = ANY (ARRAY(SELECT pg_snapshot_xip($1::text::pg_snapshot)))
UNION ALL
SELECT txid, kind, session_id, event_id FROM "{schema}".letters_2 WHERE txid >= pg_snapshot_xmax($1::text::pg_snapshot)
   AND txid < pg_snapshot_xmax(pg_current_snapshot())
UNION ALL
SELECT txid, kind, session_id, event_id FROM "{schema}".letters_2 WHERE txid = ANY (ARRAY(SELECT pg_snapshot_xip($1::text::pg_snapshot)))
