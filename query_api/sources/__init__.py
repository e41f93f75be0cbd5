"""Where answers come from when memory has none: Redis, PostgreSQL, its hot standbys; and what the projector is asked."""
