-- What polls are served of these events, told by digest. $1 ids, $2 whether their JSON is wanted.
-- A row's xmin changes whenever the row does.
SELECT pg_catalog.uuid_send(e.id) AS id, e.session_id::text AS session_id, :score AS score, e.event_type, e.xmin::text AS version,
       CASE WHEN $2 THEN pg_catalog.decode(pg_catalog.md5(pg_catalog.convert_to(:event_json, 'UTF8')), 'hex') END AS digest
FROM :events e WHERE e.id = ANY ((SELECT $1::uuid[])::uuid[])
