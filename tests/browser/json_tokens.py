"""JSON text token by token, without recursion: what two texts must share to say the same, digit for digit."""

import json
import re

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|[a-z]+|[^\s"]')


def tokens(text: str) -> list[object]:
    """Tokens without the space between them; strings by what they mean, numbers as they are written."""
    return [json.loads(found) if found[0] == '"' else found for found in TOKEN.findall(text)]
