WITH RECURSIVE tree AS (
      -- Partitions that the owner of events may alter, below parents that it may, parents first.
      SELECT c.oid, 0 AS depth, c.relowner AS owner FROM pg_class AS c WHERE c.oid = events
      UNION ALL
      SELECT c.oid, tree.depth + 1, tree.owner
        FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.oid JOIN pg_class AS c ON c.oid = i.inhrelid
       WHERE NOT i.inhdetachpending AND pg_has_role(tree.owner, c.relowner, 'USAGE')
    )
    SELECT tree.oid FROM tree WHERE tree.depth > 0 ORDER BY tree.depth, tree.oid