-- A session's status, as text that every client can take: in a database of another encoding than UTF-8 it may hold bytes
-- that are no text. Never NULL: that is a session which is not there.
coalesce(CASE WHEN pg_catalog.getdatabaseencoding() = 'UTF8'::name THEN s.status::text
              ELSE pg_catalog.encode(pg_catalog.convert_to(s.status::text, 'SQL_ASCII'), 'escape') END, '')
