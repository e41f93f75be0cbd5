"""The version of readside, which package, command line, API document and images share."""

VERSION = "1.0.0"
"""Its one home: pyproject.toml reads it from here, and a test holds what cannot."""
