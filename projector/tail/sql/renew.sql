-- Says until when somebody reads letters, which table is in use ($2) and whether to ring ($3), as one number; no row
-- where the reader ($1) is another. $4 how many ms from now; 0: nobody reads.
SELECT setval('"{schema}".presence',
              CASE WHEN $4::bigint = 0 THEN 0 ELSE (date_part('epoch', clock_timestamp()) * 1000)::bigint + $4::bigint END * 8
              + $2::bigint * 2 + $3::boolean::int) AS presence
 WHERE (SELECT last_value FROM "{schema}".reader) = $1::bigint
