"""What the processes and their callers say to one another: events, polls, offsets, messages."""
