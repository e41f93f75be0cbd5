-- Where a session's stream ends now. $1 session.
SELECT :about, 0::bigint AS unreadable
