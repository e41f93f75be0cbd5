
-- Partitions that are there now, and the owner of events may alter: parents first. What was one has no triggers any more.
DO $$
DECLARE
  events oid := current_setting('readside.events')::oid;
  part record;
BEGIN
  FOR part IN
    WITH RECURSIVE tree AS (
      SELECT c.oid, 0 AS depth, c.relowner AS owner FROM pg_class AS c WHERE c.oid = events AND c.relkind = 'p'
      UNION ALL
      SELECT c.oid, tree.depth + 1, tree.owner
        FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.oid JOIN pg_class AS c ON c.oid = i.inhrelid
       WHERE NOT i.inhdetachpending AND pg_has_role(tree.owner, c.relowner, 'USAGE')
    )
    SELECT tree.oid FROM tree WHERE tree.depth > 0 ORDER BY tree.depth, tree.oid
  LOOP
    EXECUTE format('LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE', part.oid::regclass);
    PERFORM "{schema}".adopt_partition(part.oid);
  END LOOP;
  PERFORM "{schema}".adopt_partition(left_behind.oid) FROM ({left}) AS left_behind;
END
$$;
