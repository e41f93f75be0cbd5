"""Loading sessions from Postgres into the view."""
