"""Stands between the web page and whoever asks: nothing from elsewhere, nothing to elsewhere.

An ASGI application around another one (https://asgi.readthedocs.io).
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})

# The browser loads nothing from other servers, whatever the page asks for.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "connect-src 'self' data: blob:; frame-ancestors 'none'; form-action 'self'; base-uri 'self'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
# Routes by which Gradio would fetch from other servers on behalf of a visitor.
FETCHING = re.compile(r"file[=/]+https?:|proxy=", re.IGNORECASE)
FORBIDDEN = 403


class Guard:
    """Refuses requests that a page of another site could send, and keeps the browser here.

    Args:
        application: what answers the requests that are let through.
        hosts: names that this server may be addressed by, so that no other site's name can be
            made to point here (DNS rebinding); all, if there are none.
    """

    def __init__(self, application: Application, hosts: Collection[str] = ()) -> None:
        self._application = application
        self._hosts = hosts

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._application(scope, receive, send)
        elif self._is_refused(scope):
            await _refuse(scope, send)
        else:
            await self._application(scope, receive, _with_headers(send))

    def _is_refused(self, scope: Message) -> bool:
        """Whether a request is for another host, from another page, or for another's file."""
        headers = dict(scope["headers"])
        host, origin = (headers.get(name, b"").decode("latin-1") for name in (b"host", b"origin"))
        name = urllib.parse.urlsplit(f"//{host}").hostname
        return (
            bool(FETCHING.search(scope["path"]))
            or bool(self._hosts and name not in self._hosts)
            or bool(origin and urllib.parse.urlsplit(origin).netloc != host)
        )


def _with_headers(send: Send) -> Send:
    """Add the headers to what is sent."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
        await send(message)

    return send_with_headers


async def _refuse(scope: Message, send: Send) -> None:
    """Answer that this is forbidden."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain"), *HEADERS]
    await send({"type": "http.response.start", "status": FORBIDDEN, "headers": headers})
    await send({"type": "http.response.body", "body": b"Forbidden"})
