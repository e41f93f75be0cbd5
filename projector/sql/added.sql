-- The named events, by primary key. $1 ids, $2 bytes that one may be stored in, $3 bytes of all their JSON: `member` is
-- NULL for one past $2, and for all past $3.
:named
       CASE WHEN (SELECT pg_catalog.sum(pg_catalog.octet_length(all_of_them.member)) FROM named all_of_them) <= $3::bigint
            THEN pg_catalog.convert_to(n.member, 'UTF8') END AS member
FROM named n
