-- Events by type as a load takes them: the head of a SELECT over `r`, of id, event_type, score, member and its octets.
SELECT r.event_type, pg_catalog.count(*) AS count, pg_catalog.sum(r.octets) AS bytes,
       pg_catalog.max(r.score) AS newest, pg_catalog.min(r.score) AS lowest,
       pg_catalog.convert_to(pg_catalog.string_agg(
         CASE WHEN r.score >= 1000000000000000 THEN E'$16\r\n' -- 16 digits: from 2001 on
              ELSE '$' || pg_catalog.length(r.score::text)::text || E'\r\n' END
         || r.score::text || E'\r\n$' || r.octets::text || E'\r\n' || r.member || E'\r\n', ''), 'UTF8') AS words,
       pg_catalog.string_agg(
         pg_catalog.int8send(r.score + 9007199254740992) || pg_catalog.uuid_send(r.id), ''::bytea) AS entries
