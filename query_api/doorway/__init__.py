"""The socket's side of the API: answers hot polls itself, bounds what a client may hold, hands all else to uvicorn."""
