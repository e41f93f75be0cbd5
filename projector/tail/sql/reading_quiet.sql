-- A reading in quiet times: each letter, and with those of new events the events themselves, rendered, out of the same
-- snapshot. $3 letters at most, past which there are none; $4 bytes that an event may be stored in to be rendered.
-- LIMIT and the lone condition on the key keep the planner to the primary key, an event at a time: it takes the tables of
-- letters for large and unknown, and would hash all of events, or read all of a session, for one letter.
WITH fresh AS MATERIALIZED (
{fresh_letters}
), head AS MATERIALIZED (
{reading_head}
)
SELECT head.*, told.*
FROM head LEFT JOIN LATERAL (
  SELECT f.kind::text AS kind, f.txid::text::bigint AS txid, f.session_id::text AS session_id, encode(uuid_send(f.event_id), 'hex') AS event_id,
         found.id, found.score, found.event_type, found.hash_hi, found.hash_lo, found.member
  FROM fresh f LEFT JOIN LATERAL (
    SELECT e.session_id, uuid_send(e.id) AS id, {score} AS score, e.event_type,
           ({row_hash} >> 32) & 4294967295 AS hash_hi, {row_hash} & 4294967295 AS hash_lo,
           CASE WHEN pg_column_size(e.event_data) * CASE WHEN pg_column_compression(e.event_data) IS NULL THEN 1 ELSE 4 END
                     <= $4::bigint AND coalesce(octet_length(e.message), 0) <= $4::bigint
                THEN convert_to({event_json}, 'UTF8') END AS member
    FROM {events} e WHERE e.id = f.event_id LIMIT 1
  ) found ON f.kind = 'a' AND found.session_id = f.session_id
  WHERE head.letters <= $3::bigint
) told ON true
