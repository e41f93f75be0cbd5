"""The view in Redis: its keys, what it holds and says, and who may do what with it."""
