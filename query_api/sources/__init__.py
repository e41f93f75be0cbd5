"""Where answers come from when memory has none: Redis, PostgreSQL, its standbys; and what the projector is asked."""
