-- How long `m.member` is in UTF-8.
CASE WHEN (SELECT pg_catalog.getdatabaseencoding() IN ('UTF8', 'SQL_ASCII')) THEN pg_catalog.octet_length(m.member)
     ELSE pg_catalog.octet_length(pg_catalog.convert_to(m.member, 'UTF8')) END
