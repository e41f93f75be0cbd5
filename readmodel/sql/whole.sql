-- All events of a session, newest first, as columns. $1 session.
:rendered
      WHERE e.session_id = $1 ORDER BY e.timestamp DESC, e.id DESC) r
