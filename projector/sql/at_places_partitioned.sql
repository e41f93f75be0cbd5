e.ctid = ANY (ARRAY(SELECT DISTINCT pg_catalog.substr(p.place, pg_catalog.strpos(p.place, '('))::tid
                               FROM pg_catalog.unnest($1::text[]) p (place)))
              AND (e.tableoid::text || e.ctid::text) = ANY ($1::text[])
