-- How the letterbox is: bytes of each table with its index, whether its heap is empty, how full the notification queue
-- is, and how many wait for the lock that all who ring take. Arrays are of texts: of other types a driver would have to ask
-- the catalog on each new connection, which costs more than all the rest.
SELECT ARRAY(SELECT pg_total_relation_size(box)::text FROM unnest(ARRAY['"{schema}".letters_0', '"{schema}".letters_1', '"{schema}".letters_2']::regclass[]) WITH ORDINALITY AS boxes (box, place) ORDER BY place) AS sizes,
       ARRAY(SELECT pg_relation_size(box)::text FROM unnest(ARRAY['"{schema}".letters_0', '"{schema}".letters_1', '"{schema}".letters_2']::regclass[]) WITH ORDINALITY AS boxes (box, place) ORDER BY place) AS heaps,
       pg_notification_queue_usage() AS queue_usage,
       (SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND database = 0 AND classid = 'pg_database'::regclass
           AND objid = 0 AND NOT granted) AS waiting
