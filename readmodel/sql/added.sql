-- The named events, by primary key. $1 ids, $2 bytes that one session's may have: past that `member` is NULL.
WITH rendered AS MATERIALIZED (
  SELECT e.session_id, e.id, e.event_type, :score AS score, :row_hash AS hash, :event_json AS member
  FROM events e WHERE e.id = ANY ($1::uuid[])
)
SELECT r.session_id::text AS session_id, uuid_send(r.id) AS id, r.score, r.event_type,
       (r.hash >> 32) & 4294967295 AS hash_hi, r.hash & 4294967295 AS hash_lo,
       CASE WHEN sum(octet_length(r.member)) OVER (PARTITION BY r.session_id ORDER BY r.id) <= $2::bigint
            THEN convert_to(r.member, 'UTF8') END AS member
FROM rendered r
