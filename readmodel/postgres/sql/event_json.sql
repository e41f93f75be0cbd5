('{"id":"' || e.id::text || '","session_id":"' || e.session_id::text
  || '","step_id":' || coalesce('"' || e.step_id::text || '"', 'null')
  || ',"event_type":' || pg_catalog.to_json(e.event_type::text)::text
  || ',"event_data":' || e.event_data::text
  || ',"message":' || coalesce(pg_catalog.to_json(e.message::text)::text, 'null')
  || ',"timestamp":"' || CASE
       WHEN e.timestamp >= '0001-01-01 00:00:00+00'::timestamptz AND e.timestamp < '10000-01-01 00:00:00+00'::timestamptz
       THEN pg_catalog.to_char(e.timestamp AT TIME ZONE interval '0', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
       -- As its cast to text is under DateStyle ISO and TimeZone UTC, and under no other: a pooler may lend us any.
       ELSE pg_catalog.replace(
         pg_catalog.translate(pg_catalog.to_json(e.timestamp AT TIME ZONE interval '0')::text, 'T"', ' ')
           || CASE WHEN pg_catalog.isfinite(e.timestamp) THEN '+00' ELSE '' END, ' BC+00', '+00 BC')
     END || '"}')
