"""Measured comparisons on real processes: `python -m bench`, or one part of it by name. Never a test."""
