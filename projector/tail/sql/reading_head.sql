-- What a reading tells beside the letters. now() is the as-of: the snapshot is later. $2: it is a beat. A beat, and whatever
-- brings letters, also tells whether anything is in doubt, and how far the log had come: past every commit that was
-- acknowledged before now(). So what letters made of a session is known to be what the snapshot shows.
-- `skips` is read as a table: pg_sequence_last_value would take the very lock that tells who skipped.
SELECT pg_current_snapshot()::text AS snapshot,
       (extract(epoch FROM now()) * 1000000)::bigint AS as_of_us,
       (SELECT count(*) FROM fresh) AS letters,
       CASE WHEN proof.is_told THEN (SELECT last_value FROM "{schema}".reader) END AS reader,
       CASE WHEN proof.is_told THEN (SELECT last_value::text || ' ' || is_called::text FROM "{schema}".skips) END AS skips,
       CASE WHEN proof.is_told THEN {fingerprint} END AS fingerprint,
       CASE WHEN proof.is_told THEN ({wal_position}) END AS wal
FROM (SELECT $2::boolean OR EXISTS (SELECT FROM fresh) AS is_told) proof
