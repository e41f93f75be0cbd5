-- How far the log has come: its timeline, and the end of its last record, in hex digits. pg_current_wal_insert_lsn() is where
-- the next record begins. On a page that has none yet that is past the page's head: 24 bytes, 40 on the first page of a
-- segment. A standby that has replayed everything stands before it, and would seem to lag until the next record.
SELECT substr(pg_walfile_name(place.lsn), 1, 8) || '/' || to_hex((place.at - CASE
         WHEN place.at % pg_size_bytes(current_setting('wal_segment_size')) = 40 THEN 40
         WHEN place.at % current_setting('wal_block_size')::bigint = 24 THEN 24
         ELSE 0 END)::bigint)
FROM (SELECT lsn, (lsn - '0/0'::pg_lsn) AS at FROM pg_current_wal_insert_lsn() AS lsn) place
