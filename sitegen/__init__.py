"""Builds the site from specs/: `make docs`."""
