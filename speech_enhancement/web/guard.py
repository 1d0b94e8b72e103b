"""Stands between the web page and whoever asks: nothing from elsewhere, nothing to elsewhere.

An ASGI application around another one (https://asgi.readthedocs.io).
"""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from speech_enhancement.web.quota import Quota

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
Refusal = tuple[int, str]

NOT_UNDERSTOOD = "The page did not understand this request"
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
# Pages that say how the server is built.
DESCRIPTIONS = re.compile(r"/(openapi\.json|docs|redoc)/?$")
UPLOADS = re.compile(r"/upload/?$")
# What Gradio would believe about its own address.
FORWARDED = re.compile(rb"x-forwarded-|forwarded$|x-gradio-server$|x-original-")
BAD_REQUEST, FORBIDDEN, NOT_FOUND, LENGTH_REQUIRED, TOO_LARGE = 400, 403, 404, 411, 413
SERVER_ERROR = 500


class Guard:
    """Refuses requests that a page of another site could send, and keeps the browser here.

    Args:
        application: what answers the requests that are let through.
        hosts: names that this server may be addressed by, so that no other site's name can be
            made to point here (DNS rebinding).
        takes_addresses: whether it may also be addressed by any number, which no site can make
            its own.
        quota: how much may be uploaded; without, all.
    """

    def __init__(
        self,
        application: Application,
        hosts: Collection[str] = LOCAL_HOSTS,
        takes_addresses: bool = False,
        quota: Quota | None = None,
    ) -> None:
        self._application = application
        self._hosts = hosts
        self._takes_addresses = takes_addresses
        self._quota = quota

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._application(scope, receive, send)
            return
        headers = dict(scope["headers"])
        refusal = self._refusal(scope["path"], headers)
        if refusal is None and self._quota is not None and UPLOADS.search(scope["path"]):
            refusal = self._upload_refusal(scope, headers)
        if refusal is not None:
            await _refuse(scope, _with_headers(send), *refusal)
            return
        own = [pair for pair in scope["headers"] if not FORWARDED.match(pair[0])]
        worded = _in_words(scope, _with_headers(send))
        await self._application({**scope, "headers": own}, receive, worded)

    def _refusal(self, path: str, headers: dict[bytes, bytes]) -> Refusal | None:
        """Why a request is refused: another host, another page, or another's file."""
        host, origin = (headers.get(name, b"").decode("latin-1") for name in (b"host", b"origin"))
        try:
            name = urllib.parse.urlsplit(f"//{host}").hostname or ""
            origin_host = urllib.parse.urlsplit(origin).netloc
        except ValueError:
            return BAD_REQUEST, "The request names no host or page that there can be"
        if not self._is_own(name):
            return FORBIDDEN, "This page is not known by that name; --allowed_hosts adds names"
        if origin and origin_host != host:
            return FORBIDDEN, "Pages of other sites get nothing here"
        if FETCHING.search(path):
            return FORBIDDEN, "This page accepts files, but no addresses"
        if DESCRIPTIONS.search(path):
            return NOT_FOUND, "There is no such page"
        return None

    def _is_own(self, name: str) -> bool:
        """Whether a name or number is one of this server."""
        return name in self._hosts or (self._takes_addresses and _is_address(name))

    def _upload_refusal(self, scope: Message, headers: dict[bytes, bytes]) -> Refusal | None:
        """Why an upload is refused; else its size is noted."""
        length = headers.get(b"content-length", b"")
        if not length.isdigit() or len(length) > 18:
            return LENGTH_REQUIRED, "An upload must say how long it is"
        reason = self._quota and self._quota.take(visitor(scope.get("client")), int(length))
        return (TOO_LARGE, reason) if reason else None


def visitor(client: Any) -> str:
    """Who asks: the address that a request came from, without its port."""
    return str(client[0]) if client else ""


def _is_address(name: str) -> bool:
    """Whether a host is a number."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_headers(send: Send) -> Send:
    """Add the headers to what is sent."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
        await send(message)

    return send_with_headers


def _in_words(scope: Message, send: Send) -> Send:
    """Send a sentence in place of an error of the application's own."""
    is_answered = False

    async def send_in_words(message: Message) -> None:
        nonlocal is_answered
        if is_answered:
            return
        if message["type"] == "http.response.start" and message["status"] >= SERVER_ERROR:
            is_answered = True
            await _refuse(scope, send, message["status"], NOT_UNDERSTOOD)
            return
        await send(message)

    return send_in_words


async def _refuse(scope: Message, send: Send, status: int, sentence: str) -> None:
    """Answer with a sentence."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": sentence.encode()})
