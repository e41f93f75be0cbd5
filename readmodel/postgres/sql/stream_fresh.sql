-- What of a session a follower was not given yet, as the beginning of a WITH: `fresh` has key, id and instant of each event.
-- $1 session; $2 xmax and $3 open ids of the cut that the follower has (0 and none: everything is new).
-- A row tells by which transaction this version of it was written, in 32 bits, and where a savepoint wrote it by an id of its
-- own, which no snapshot lists. All that is visible here is older than our snapshot, so its epoch is known; a row that was
-- frozen long ago may seem to be of this one, and comes again.
-- What is open in the cut, or not below its xmax, was not given. Below that it was, unless it is a savepoint's of what was open
-- then and has ended since; `doubted` is the first of these. (What is open still shows nothing of itself, and a savepoint's
-- id is greater than its transaction's.) From there on a letter with the same id tells of which transaction that was a part.
-- Where there is none nothing is proven, and the event comes again.
-- `came` is the transaction by which a row's partition came, where the cut may not show that: none of its rows was given then.
-- Ids below 3 are of rows that were there when the cluster was made.
cuts AS MATERIALIZED (
  SELECT $3::text[]::bigint[] AS open, :upto_open AS upto_open
), snapshot AS MATERIALIZED (
  SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::bigint AS xmax,
         coalesce((SELECT pg_catalog.min(o.id) FROM cuts CROSS JOIN LATERAL pg_catalog.unnest(cuts.open) AS o (id)
                   WHERE o.id <> ALL (cuts.upto_open)), $2::bigint) AS doubted
:attached
), recent AS :kept (
  SELECT :key AS id, e.id AS event_id, e.timestamp, :instant AS instant, writer.xid, :came AS came
  FROM :events e CROSS JOIN snapshot
  CROSS JOIN LATERAL (SELECT :writer AS xid) writer
  WHERE e.session_id = $1
    AND (writer.xid >= snapshot.doubted OR :came IS NOT NULL)
    AND ($2::bigint = 0::bigint OR e.xmin::text::bigint >= 3::bigint OR :came IS NOT NULL)
    AND (e.id = NULL::uuid) IS NULL -- costs nothing, and fails where ids are of a type that sorts otherwise
    :behind
), proven AS MATERIALIZED (
:proven
), fresh AS (
  SELECT r.id, r.event_id, r.timestamp, r.instant
  FROM recent r CROSS JOIN cuts LEFT JOIN proven p ON p.writer = r.xid & 4294967295::bigint AND p.top <= r.xid
  WHERE (r.xid >= $2::bigint OR r.xid = ANY (cuts.open) OR (p.top < $2::bigint AND p.top <> ALL (cuts.open)) IS NOT true
         OR r.came IS NOT NULL)
    :upto
)
