-- How long `m.member` is in UTF-8.
CASE WHEN (SELECT getdatabaseencoding() IN ('UTF8', 'SQL_ASCII')) THEN octet_length(m.member)
     ELSE octet_length(convert_to(m.member, 'UTF8')) END
