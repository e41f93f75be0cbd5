"""Reads of a stream: catching up, and long polls."""
