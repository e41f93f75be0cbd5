-- Events by type as a load takes them: the head of a SELECT over `r`, of id, event_type, score, member and its octets.
SELECT r.event_type, count(*) AS count, sum(r.octets) AS bytes, max(r.score) AS newest, min(r.score) AS lowest,
       convert_to(string_agg(CASE WHEN r.score >= 1000000000000000 THEN E'$16\r\n' -- 16 digits: from 2001 on
                                  ELSE '$' || length(r.score::text) || E'\r\n' END
         || r.score || E'\r\n$' || r.octets || E'\r\n' || r.member || E'\r\n', ''), 'UTF8') AS words,
       string_agg(int8send(r.score + 9007199254740992) || uuid_send(r.id), ''::bytea) AS entries
