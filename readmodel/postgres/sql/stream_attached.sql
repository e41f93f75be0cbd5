), attached AS MATERIALIZED (
  -- Partitions that came, with their parent or alone, by a transaction that the cut may not show: whatever their rows are of.
  -- Nothing proves of it what letters prove of rows, so what is in doubt comes again.
  WITH RECURSIVE below (part, xid) AS (
    SELECT e.inhrelid, writer.xid
    FROM pg_catalog.pg_inherits e CROSS JOIN snapshot CROSS JOIN LATERAL (SELECT :writer AS xid) writer
    WHERE $2::bigint > 0::bigint AND writer.xid >= snapshot.doubted
    UNION ALL
    SELECT e.inhrelid, below.xid FROM below JOIN pg_catalog.pg_inherits e ON e.inhparent = below.part
  )
  SELECT below.part, pg_catalog.max(below.xid) AS xid FROM below GROUP BY below.part
