SELECT r.event_type, count(*) AS count, sum(octet_length(r.member)) AS bytes, max(r.score) AS newest, min(r.score) AS lowest,
       string_agg(convert_to('$' || length(r.score::text) || E'\r\n' || r.score || E'\r\n$' || octet_length(r.member)
         || E'\r\n', 'UTF8') || r.member, E'\\x0d0a'::bytea) || E'\\x0d0a'::bytea AS words,
       string_agg(int8send(r.score + 9007199254740992) || uuid_send(r.id), ''::bytea) AS entries
