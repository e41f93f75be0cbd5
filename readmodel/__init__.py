"""What the projector and the query API must agree on: events, polls, the view in Redis, the event log in Postgres."""
