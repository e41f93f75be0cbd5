"""The peers that stand beside readside: written as well as we know how, on the same servers and the same events."""
