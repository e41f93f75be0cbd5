-- A reading under load: a row for each session. $3 letters past which events are not named, only their sessions; $4
-- sessions at most, and one more to tell that there are others. `ids`: event and transaction, 32 and 16 hex digits each. `x`: a letter without a session, which says everything.
WITH fresh AS MATERIALIZED (
{fresh_letters}
), head AS MATERIALIZED (
{reading_head}
)
SELECT head.*, told.*
FROM head LEFT JOIN LATERAL (
  SELECT f.session_id::text AS session_id, bool_or(f.kind = 'x') AS everything, bool_or(f.kind = 'l') AS look,
         bool_or(f.kind = 'r') AS row, bool_or(f.kind = 'n') AS new, count(*) FILTER (WHERE f.kind = 'a') AS added,
         string_agg(encode(uuid_send(f.event_id) || xid8send(f.txid), 'hex'), '') FILTER (WHERE f.kind = 'a' AND head.letters <= $3::bigint) AS ids
  FROM fresh f GROUP BY f.session_id LIMIT $4::bigint + 1
) told ON true
