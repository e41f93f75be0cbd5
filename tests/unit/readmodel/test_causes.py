"""What went wrong, in a person's words."""

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from readmodel.causes import cause

REFUSED = "Connect call failed ('127.0.0.1', 6379)"
COMMAND = "Command # 2 (HMGET key secret) of pipeline caused error: "


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(111, REFUSED), "Connection refused"),
        (RedisConnectionError(f"Error 111 connecting to localhost:6379. {REFUSED}."), "Connection refused"),
        (RedisConnectionError("Error -2 connecting to h.example:6379. No such name."), "No such name"),
        (RedisConnectionError("Error while reading from h.example:6379 : (104, 'Connection reset by peer')"),
         "Connection reset by peer"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1, 0, 0), [Errno 111] " + REFUSED),
         "Connection refused"),
        (OSError(2, "No such file or directory"), "No such file or directory"),
        (ResponseError(f"{COMMAND}('WRONGTYPE Operation against a key.',)", "x"), "WRONGTYPE Operation against a key"),
        (ResponseError(f'{COMMAND}("it\'s another",)'), "it's another"),
        (ResponseError(f"Busy. script: {'0a' * 20}, on @user_script:69."), "Busy"),
        (ResponseError("ERR one\ntwo"), "ERR one"),
        (ResponseError("ERR \x1b]0;x\x07\x1b[2J\u202eon\xa0e"), "ERR \\u001b]0;x\\u0007\\u001b[2J\\u202eon\xa0e"),
        (TimeoutError(), "TimeoutError"),
        (ValueError("A sentence."), "A sentence"),
    ],
)  # fmt: skip
def test_a_cause_is_a_line_without_tuples_addresses_and_commands(error: Exception, told: str) -> None:
    """Whatever the library made of it."""
    if isinstance(error, ResponseError):
        error.args = error.args[:1]

    assert cause(error) == told
