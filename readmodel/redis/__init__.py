"""Redis: clients, and where the keys of a view are, whichever kind of Redis it is."""
