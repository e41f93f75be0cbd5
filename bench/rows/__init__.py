"""The measurements, a module each: NAME, and `measure` that gives its rows and charts."""
