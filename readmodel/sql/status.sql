-- A status as text that every client can take. In a database of another encoding it may hold bytes that are none of it.
CASE WHEN pg_catalog.getdatabaseencoding() = 'UTF8'::name THEN s.status::text
     ELSE pg_catalog.encode(pg_catalog.convert_to(s.status::text, 'SQL_ASCII'), 'escape') END
