('{"id":"' || e.id::text || '","session_id":"' || e.session_id::text
  || '","step_id":' || coalesce('"' || e.step_id::text || '"', 'null')
  || ',"event_type":' || to_json(e.event_type)::text
  || ',"event_data":' || e.event_data::text
  || ',"message":' || coalesce(to_json(e.message)::text, 'null')
  || ',"timestamp":"' || CASE
       WHEN e.timestamp >= '0001-01-01 00:00:00+00'::timestamptz AND e.timestamp < '10000-01-01 00:00:00+00'::timestamptz
       THEN to_char(e.timestamp AT TIME ZONE interval '0', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
       ELSE e.timestamp::text
     END || '"}')
