SELECT array_agg(r.score) AS scores, array_agg(r.member) AS members, array_agg(r.event_type) AS types,
       array_agg(int8send(r.score + 9007199254740992) || uuid_send(r.id)) AS entries
FROM (SELECT e.*, :score AS score, convert_to(:event_json, 'UTF8') AS member FROM events e
