"""Requests for what one session has: as they come in, who may ask, and how they are held."""
