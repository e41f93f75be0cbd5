"""The doorway: what stands between a client's socket and the application, and keeps the bounds of a connection."""
