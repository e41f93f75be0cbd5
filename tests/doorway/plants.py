"""Bugs to be planted, each against one rule of the doorway."""

from tests.model.planting import Plant

_DOORWAY = "query_api.doorway.protocol:Doorway"

PLANTS = {
    "a poll is answered while uvicorn has a request in hand": Plant(
        "while uvicorn has a request in hand nothing overtakes it",
        f"{_DOORWAY}.data_received",
        "self._message is not None or self._held",
        "self._held",
    ),
    "what comes behind a request in the same packet overtakes it": Plant(
        "answers leave in the order of the requests",
        f"{_DOORWAY}._serve",
        "if self._message is not None or self._writes_paused:",
        "if self._writes_paused:",
    ),
    "a request is over when it is answered": Plant(
        "a request is over when its answer has left and all of it has come",
        f"{_DOORWAY}._over",
        "if message.whole:",
        "if True:",
    ),
    "a request is over when it has come": Plant(
        "a request is over when all of it has come and its answer has left",
        f"{_DOORWAY}._pass_body",
        "if message.whole and message.answered:",
        "if message.whole:",
    ),
    "empty lines are cut off anywhere": Plant(
        "a packet that begins with an end of line may be the middle of a head",
        f"{_DOORWAY}._take",
        "if not held:\n        data = data.lstrip",
        "if True:\n        data = data.lstrip",
    ),
    "the end of a head is looked for in what is new": Plant(
        "the end of a head may come in several packets",
        f"{_DOORWAY}._take",
        "self._held.find(END, max(0, held - len(END)))",
        "self._held.find(END, held)",
    ),
    "what was kept is not served": Plant(
        "what was kept is served when nothing stands in its way",
        f"{_DOORWAY}._go_on",
        "if self._held:\n        self._serve(self._release())",
        "if self._held and self._half_closed:\n        self._serve(self._release())",
    ),
    "a body takes all that comes with it": Plant(
        "a body ends where its length says",
        "query_api.doorway.message:BodyMessage._bytes",
        "taken = min(left, len(data))",
        "taken = len(data)",
    ),
    "chunks take all that comes with them": Plant(
        "chunks end where the last one does",
        "query_api.doorway.message:BodyMessage._chunks",
        "return place",
        "return len(data)",
    ),
    "a body's last byte is the next request's": Plant(
        "every byte of a body is its request's",
        "query_api.doorway.message:BodyMessage._bytes",
        "return taken",
        "return taken - self.whole",
    ),
    "any field may come with a poll": Plant(
        "a poll that says what becomes of its connection is uvicorn's",
        "query_api.doorway.heads:usual_fields",
        "if name in _UNUSUAL and",
        "if name == b'transfer-encoding' and",
    ),
    "fields are remembered by their beginning": Plant(
        "what fields mean does not depend on what came before",
        "query_api.doorway.connections:Connections._fields_of",
        "fields = self._fields.get(lines)",
        "fields = self._fields.get(lines) or self._fields.get(lines[:20])",
        also=(
            (
                "query_api.doorway.connections:Connections._fields_of",
                "self._fields[lines] = fields",
                "self._fields[lines[:20]] = fields",
            ),
        ),
    ),
    "HEAD gets a body": Plant(
        "HEAD gets no body",
        f"{_DOORWAY}._send",
        "del parts[-1]",
        "pass",
    ),
    "an answer says nothing of who may read it": Plant(
        "an answer bears the same fields whichever way its request came in",
        "query_api.doorway.connections:Connections.read",
        "front.common(fields)",
        "front.common({})",
    ),
    "what a store said is sent twice": Plant(
        "a request is answered once",
        f"{_DOORWAY}._ask",
        "self._finish(message)",
        "self._send(reply, asked.question, name, asked.at)\n        self._finish(message)",
    ),
}
