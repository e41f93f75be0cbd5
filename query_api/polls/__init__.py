"""Polls of events: the hot path."""
