"""What every request passes first: who may come in, how large its body is, its id, its line in the log."""

import asyncio
import base64
import binascii
import hmac
import logging
import re
import time
import traceback
import uuid
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from malsori.serve.errors import LEFT, HttpError, as_http_error, error_response
from malsori.serve.metrics import ServerMetrics
from malsori.serve.settings import ServeSettings

log = logging.getLogger("malsori.serve")

#: Open without a key: what asks whether the server is up.
_OPEN_PATHS = frozenset({"/health", "/ready"})
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1", "testserver"})
_REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_WEBSOCKET_KEY = "openai-insecure-api-key."  # how a browser, which cannot set headers, sends a key


class Gate:
    """The outermost layer of the server: refuses, limits, counts, and writes one line for each request.

    Args:
        app: what is behind it.
        settings: keys, hosts and limits.
        metrics: where requests are counted.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings, metrics: ServerMetrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics
        self._max_bytes = round(settings.max_body_mb * 1_000_000)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection, as ASGI asks."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        visit = _Visit(scope)
        self.metrics.open.inc()
        try:
            try:
                self._admit(scope)
                incoming = self._limited(scope, receive) if scope["type"] == "http" else receive
                await self.app(scope, incoming, visit.sending(send))
            except HttpError as error:
                await _refuse(scope, receive, visit.sending(send), error)
            except Exception as error:
                visit.fault = error
                if not visit.status:
                    await _refuse(scope, receive, visit.sending(send), as_http_error(error))
        finally:
            self.metrics.open.dec()
            self._record(visit)

    def _admit(self, scope: Scope) -> None:
        """Raise HttpError unless the request is sent to this host, by a page that may, with a key that holds."""
        headers, settings = Headers(scope=scope), self.settings
        host = headers.get("host", "")
        name = host.rsplit(":", 1)[0].strip("[]") if not host.endswith("]") else host.strip("[]")
        if settings.is_loopback and name not in _LOOPBACK_NAMES and name not in settings.allowed_hosts:
            raise HttpError(403, f"host '{name}': this server answers to localhost; allow more with --allowed-hosts")
        origin = headers.get("origin")
        if origin and urlsplit(origin).netloc != host and origin not in settings.cors_origins:
            raise HttpError(403, f"origin '{origin}': pages of other hosts may not call; see --cors-origins")
        preflight = scope["type"] == "http" and scope["method"] == "OPTIONS"
        if settings.api_key and scope["path"] not in _OPEN_PATHS and not preflight:
            _check_key(_offered_keys(headers), settings.api_key)

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """Return a `receive` that gives no more of a body, and waits no longer for it, than is allowed."""
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdecimal() and len(length) < 19 and int(length) <= self._max_bytes:
            return self._counted(receive)
        raise self._too_large()

    def _counted(self, receive: Receive) -> Receive:
        taken, whole, until = 0, False, time.monotonic() + self.settings.body_seconds

        async def counted() -> Message:
            nonlocal taken, whole
            if whole:  # what comes now is that the client has left
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, until - time.monotonic()))
            except TimeoutError as error:
                raise HttpError(
                    408, f"the body did not come within {self.settings.body_seconds:g} s (body_seconds)"
                ) from error
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if taken > self._max_bytes:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> HttpError:
        return HttpError(413, f"the body is larger than {self.settings.max_body_mb:g} MB (max_body_mb)", "too_large")

    def _record(self, visit: "_Visit") -> None:
        route, status = visit.route, visit.status or LEFT
        self.metrics.requests.labels(route, str(status)).inc()
        self.metrics.seconds.labels(route).observe(visit.seconds)
        log.info("request", extra={"facts": visit.told(status)})
        if visit.fault:
            log.error("fault", extra={"facts": _fault(visit, self.settings.log_text)})


class _Visit:
    """One request on its way: its id, what was answered, how long it took."""

    def __init__(self, scope: Scope) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self.id = given if _REQUEST_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"
        self.scope, self.status, self.sent_bytes = scope, 0, 0
        self.fault: Exception | None = None
        self._began = time.monotonic()
        #: What a route says of its work: seconds of sound, characters; no text.
        self.facts: dict[str, object] = scope.setdefault("state", {}).setdefault("facts", {})

    @property
    def route(self) -> str:
        """The route's pattern, never what the client wrote."""
        return getattr(self.scope.get("route"), "path", "other")

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return time.monotonic() - self._began

    def sending(self, send: Send) -> Send:
        """Return a `send` that adds the id to the answer and keeps its status."""

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = self.id
            elif message["type"] == "websocket.accept":
                self.status = 101
            self.sent_bytes += len(message.get("body", b""))
            await send(message)

        return watched

    def told(self, status: int) -> dict[str, object]:
        """Return what the log is told: numbers and names, nothing that a client wrote."""
        facts: dict[str, object] = {
            "request_id": self.id,
            "method": self.scope.get("method", "WS"),
            "route": self.route,
            "status": status,
            "seconds": round(self.seconds, 3),
            "sent_bytes": self.sent_bytes,
        }
        return facts | self.facts


def _fault(visit: _Visit, with_text: bool) -> dict[str, object]:
    """Return where a fault lies; its message, which may hold what a client sent, only if allowed."""
    fault = visit.fault
    assert fault is not None
    trace = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(fault.__traceback__)]
    facts: dict[str, object] = {"request_id": visit.id, "fault": type(fault).__name__, "trace": trace[-8:]}
    return facts | ({"error": str(fault)} if with_text else {})


def _offered_keys(headers: Headers) -> Iterable[str]:
    """Yield the keys that a request offers: a bearer token, a password, a subprotocol of a WebSocket."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        yield value.strip()
    if kind.lower() == "basic":  # what a browser asks a person for
        try:
            yield base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return
    for protocol in headers.get("sec-websocket-protocol", "").split(","):
        if protocol.strip().startswith(_WEBSOCKET_KEY):
            yield protocol.strip().removeprefix(_WEBSOCKET_KEY)


def _check_key(offered: Iterable[str], keys: tuple[str, ...]) -> None:
    """Raise HttpError unless one of the offered keys is one of ours; how long that takes tells nothing of them."""
    for offer in offered:
        if any([hmac.compare_digest(offer.encode("utf-8", "replace"), key.encode()) for key in keys]):
            return
    challenge = {"WWW-Authenticate": 'Basic realm="malsori", charset="UTF-8"'}
    raise HttpError(401, "no valid key: send one as Authorization: Bearer KEY", "invalid_api_key", headers=challenge)


async def _refuse(scope: Scope, receive: Receive, send: Send, error: HttpError) -> None:
    if scope["type"] == "http":
        await error_response(error)(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": error.detail[:100]})
