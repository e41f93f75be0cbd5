  -- Which transaction an id is a part of, as letters tell: our triggers write them by the id of the statement's own savepoint.
  -- From $6 on, so long before the first open id that hardly any savepoint's transaction began earlier: a range of the index.
  -- Letters that came in a dump may contradict each other, and prove nothing then.
  SELECT l.writer, pg_catalog.min(l.top) AS top
  FROM (
    SELECT l.xmin::text::bigint AS writer, l.txid::text::bigint AS top FROM :schema.letters_0 l
    WHERE l.txid >= $6::bigint::text::xid8 AND l.txid < :below::bigint::text::xid8 AND l.session_id = $1
    UNION ALL
    SELECT l.xmin::text::bigint, l.txid::text::bigint FROM :schema.letters_1 l
    WHERE l.txid >= $6::bigint::text::xid8 AND l.txid < :below::bigint::text::xid8 AND l.session_id = $1
    UNION ALL
    SELECT l.xmin::text::bigint, l.txid::text::bigint FROM :schema.letters_2 l
    WHERE l.txid >= $6::bigint::text::xid8 AND l.txid < :below::bigint::text::xid8 AND l.session_id = $1
  ) l
  WHERE EXISTS (SELECT FROM recent r WHERE r.xid < :below::bigint)
  GROUP BY l.writer HAVING pg_catalog.min(l.top) = pg_catalog.max(l.top)
