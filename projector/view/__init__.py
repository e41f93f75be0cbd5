"""Writing the view: the one way into Redis."""
