"""The projector: tails Postgres and keeps the view in Redis equal to it, one batch after another."""
