-- The named events, by primary key. $1 ids, $2 bytes that one session's may have, $3 all of them: past either `member`
-- is NULL (the longest's first, so that bystanders are added), and so it is, not even rendered, for one stored in $2.
WITH rendered AS MATERIALIZED (
  SELECT e.session_id, e.id, e.event_type, :score AS score, :row_hash AS hash,
         CASE WHEN pg_column_size(e.event_data) * CASE WHEN pg_column_compression(e.event_data) IS NULL THEN 1 ELSE 4 END
                   <= $2::bigint AND coalesce(octet_length(e.message), 0) <= $2::bigint
              THEN :event_json END AS member
  FROM events e WHERE e.id = ANY ($1::uuid[])
)
SELECT r.session_id::text AS session_id, uuid_send(r.id) AS id, r.score, r.event_type,
       (r.hash >> 32) & 4294967295 AS hash_hi, r.hash & 4294967295 AS hash_lo,
       CASE WHEN sum(octet_length(r.member)) OVER (PARTITION BY r.session_id ORDER BY r.id) <= $2::bigint
             AND sum(octet_length(r.member)) OVER (ORDER BY octet_length(r.member), r.id) <= $3::bigint
            THEN convert_to(r.member, 'UTF8') END AS member
FROM rendered r
