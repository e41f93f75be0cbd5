-- Renders these events, as an answer does, to see whether it can be done: fails where it cannot. Gives one that comes out
-- as NULL, if any. $1 ids.
SELECT (pg_catalog.array_agg(r.id) FILTER (WHERE r.member IS NULL))[1] AS empty,
       pg_catalog.sum(pg_catalog.octet_length(pg_catalog.convert_to(r.member, 'UTF8'))) AS octets
FROM (SELECT e.id, :event_json AS member FROM :events e WHERE e.id = ANY ((SELECT $1::uuid[])::uuid[]) OFFSET 0) r
