-- Which events come next in a session's stream; nothing of them is rendered. The parameters are those of stream.sql.
WITH :fresh
SELECT event_id AS id FROM fresh WHERE $5::bigint IS NOT NULL ORDER BY instant, event_id LIMIT $4::bigint
