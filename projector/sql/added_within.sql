-- The named events where `added` withholds some: as many as fit. $1 ids, $2 bytes that one session's may have, $3 all of
-- them: past either `member` is NULL (the longest's first, so that bystanders are added), as for one stored in $2.
:named
       CASE WHEN pg_catalog.sum(pg_catalog.octet_length(n.member)) OVER (PARTITION BY n.session_id ORDER BY n.id)
                   <= $2::bigint
             AND pg_catalog.sum(pg_catalog.octet_length(n.member)) OVER (ORDER BY pg_catalog.octet_length(n.member), n.id)
                   <= $3::bigint
            THEN pg_catalog.convert_to(n.member, 'UTF8') END AS member
FROM named n
