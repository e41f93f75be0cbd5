  SELECT pg_catalog.md5(pg_catalog.concat_ws(' ',
    (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', t.oid, t.xmin, t.tgenabled, p.oid, p.xmin), ' ' ORDER BY t.oid)
       FROM pg_catalog.pg_trigger AS t
       JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
       JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
      WHERE t.tgrelid OPERATOR(pg_catalog.=) ANY (ARRAY[{tables}]::pg_catalog.oid[])
        AND NOT t.tgisinternal AND n.nspname OPERATOR(pg_catalog.=) '{schema}'::pg_catalog.name),
    (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', p.oid, p.prosrc, p.proconfig), ' ' ORDER BY p.oid)
       FROM pg_catalog.pg_proc AS p
       JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
      WHERE n.nspname OPERATOR(pg_catalog.=) '{schema}'::pg_catalog.name
        AND p.proname OPERATOR(pg_catalog.=) 'empty_letters'::pg_catalog.name),
    (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', c.oid, c.relkind, c.relispartition, c.relhassubclass,
              EXISTS (SELECT FROM pg_catalog.pg_subscription_rel AS s WHERE s.srrelid OPERATOR(pg_catalog.=) c.oid),
              CASE WHEN c.relpersistence OPERATOR(pg_catalog.=) 'u'::pg_catalog."char"
                THEN c.relrowsecurity OR c.relforcerowsecurity OR c.relhasrules OR c.relhastriggers
                  OR c.relchecks OPERATOR(pg_catalog.>) 0::pg_catalog.int2 END,
              CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'S'::pg_catalog."char" THEN c.relfilenode END),
              ' ' ORDER BY c.oid)
       FROM pg_catalog.pg_class AS c
      WHERE c.oid OPERATOR(pg_catalog.=) ANY (ARRAY[{tables},
              pg_catalog.to_regclass('"{schema}".letters_0'), pg_catalog.to_regclass('"{schema}".letters_1'),
              pg_catalog.to_regclass('"{schema}".letters_2'), pg_catalog.to_regclass('"{schema}".presence'),
              pg_catalog.to_regclass('"{schema}".skips'), pg_catalog.to_regclass('"{schema}".reader')]::pg_catalog.oid[]))))
