"""A handshake of a WebSocket that is refused is answered like any request: with a status, a body and ids."""

from __future__ import annotations

from starlette.types import Message, Scope, Send

_ABLE = "websocket.http.response"
"""Name of the ASGI extension of servers that can answer so."""
_POLICY = 1008


def denying(scope: Scope, send: Send) -> Send:
    """Takes an HTTP answer and refuses the handshake of ``scope`` with it.

    Where the server cannot do that the handshake is closed, which is 403 to the client.
    """

    async def deny(message: Message) -> None:
        if _ABLE in scope.get("extensions", {}):
            await send({**message, "type": f"websocket.{message['type']}"})
        elif message["type"] == "http.response.start":
            await send({"type": "websocket.close", "code": _POLICY, "reason": ""})

    return deny
