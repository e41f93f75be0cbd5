-- The named events ($1 ids), rendered unless stored in more than $2 bytes. The subselect hides from the planner how many
-- ids there are: it would plan anew for each fetch, which costs more than the fetch.
WITH named AS MATERIALIZED (
  SELECT e.session_id, e.id, e.event_type::text AS event_type, :score AS score, :row_hash AS hash,
         CASE WHEN pg_catalog.pg_column_size(e.event_data)
                     * CASE WHEN pg_catalog.pg_column_compression(e.event_data) IS NULL THEN 1 ELSE 4 END <= $2::bigint
               AND coalesce(pg_catalog.octet_length(e.message::text), 0) <= $2::bigint
              THEN :event_json END AS member
  FROM :events e WHERE e.id = ANY ((SELECT $1::text[]::uuid[])::uuid[])
)
SELECT n.session_id::text AS session_id, pg_catalog.uuid_send(n.id) AS id, n.score, n.event_type,
       (n.hash >> 32) & 4294967295 AS hash_hi, n.hash & 4294967295 AS hash_lo,
