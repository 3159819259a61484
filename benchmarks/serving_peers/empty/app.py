"""An ASGI application that reads the request and answers at once: the ceiling of any other."""

from __future__ import annotations

BODY = b'{"prediction":"class_0","probabilities":{"class_0":1.0,"class_1":0.0,"class_2":0.0}}'
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(BODY)).encode()),
    ],
}


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send(START)
    await send({"type": "http.response.body", "body": BODY})
