"""The key that tests give to processes, long enough to be one."""

KEY = "the-key-of-the-tests"
HEADERS = {"x-api-key": KEY}
