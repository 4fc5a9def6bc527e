"""Around each request: its id, its line in the log, its part in the metrics, and an answer whatever happens.

A connection whose request was answered before its body was there to the end is closed: a server that goes on to read
what nobody wants can be kept busy by it, for as long as its sender likes.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import traceback
import uuid
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from redrive import telemetry
from redrive.gateway.metrics import REQUESTS, SECONDS
from redrive.gateway.problems import Problem

access_log = logging.getLogger("redrive.gateway.access")
log = logging.getLogger(__name__)

REQUEST_ID = "X-Request-ID"
HEALTH = frozenset({"/livez", "/readyz"})
_GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(slots=True)
class Exchange:
    """What is known of one request so far: what its line in the log tells, and nothing that was sent.

    Attributes:
        request_id: the sender's, or one made here.
        partner: once it is known.
        event_type: once it is known that the partner may publish it.
        events: how many it has.
        refused: how many of them were not accepted.
        problem: the kind of problem that it was answered with; of a batch, those of its events.
        status: of the answer.
    """

    request_id: str
    partner: str = ""
    event_type: str = ""
    events: int = 0
    refused: int = 0
    problem: str = ""
    status: int = 0


class Exchanges:
    """ASGI middleware: keeps an `Exchange` for each request, in ``request.state.exchange``."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._is_traced = telemetry.is_tracing()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        sent = Headers(scope=scope)
        given = sent.get(REQUEST_ID, "")
        exchange = Exchange(given if _GOOD_ID.fullmatch(given) else uuid.uuid4().hex)
        scope.setdefault("state", {})["exchange"] = exchange
        body = _Body(sent, receive)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = exchange.request_id
                if not await body.is_here():
                    headers["Connection"] = "close"
            await send(message)

        try:
            with self._spanned(scope, exchange):
                await self._app(scope, body.receive, answer)
        except Exception as error:
            # Without the error's text, which may quote what was sent.
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("request %s: unexpected %s\n%s", exchange.request_id, type(error).__name__, where)  # noqa: TRY400
            if exchange.status:
                raise
            exchange.problem = "internal"
            problem = Problem(500, "internal", "something went wrong here; the request's id helps to find out what")
            await problem.response(exchange.request_id)(scope, body.receive, answer)
        finally:
            if scope["path"] not in HEALTH:
                _note(exchange, time.perf_counter() - started, scope["method"])

    def _spanned(self, scope: Scope, exchange: Exchange) -> AbstractContextManager[None]:
        if not self._is_traced or scope["path"] in HEALTH:
            return nullcontext()
        return telemetry.request(lambda: _attributes(exchange, scope["method"]))


class _Body:
    """Knows whether a request's body is there to its end."""

    def __init__(self, headers: Headers, receive: Receive) -> None:
        self._receive = receive
        self._is_read = "Transfer-Encoding" not in headers and headers.get("Content-Length", "0") == "0"
        self._is_asked_for = "Expect" in headers
        """Whether its sender waits to be told to send it, which reading it would do."""

    async def receive(self) -> Message:
        message = await self._receive()
        self._is_read = self._is_read or not message.get("more_body", False)
        return message

    async def is_here(self) -> bool:
        """Take what has arrived of it, without waiting for more; tell whether that was its end.

        So a connection outlives a refusal of what is sent in one go.
        """
        if not (self._is_read or self._is_asked_for):
            with suppress(TimeoutError):
                async with asyncio.timeout(0):
                    while not self._is_read:
                        await self.receive()
        return self._is_read


def _attributes(exchange: Exchange, method: str) -> dict[str, str | int]:
    """Give what a span tells of a request, as OpenTelemetry calls it: what the log does, and no path."""
    return {
        "http.request.method": method if method in _METHODS else "_OTHER",
        "http.response.status_code": exchange.status or 500,  # whatever went wrong is answered so
        "redrive.request_id": exchange.request_id,
        "redrive.partner": exchange.partner,
        "redrive.event_type": exchange.event_type,
        "redrive.problem": exchange.problem,
        "messaging.batch.message_count": exchange.events,
    }


def _note(exchange: Exchange, seconds: float, method: str) -> None:
    REQUESTS.labels(exchange.partner, str(exchange.status)).inc()
    SECONDS.observe(seconds)
    access_log.info(
        "%s %s status=%d partner=%s type=%s events=%d refused=%d problem=%s ms=%.1f",
        exchange.request_id,
        method if method in _METHODS else "?",
        exchange.status,
        exchange.partner or "-",
        exchange.event_type or "-",
        exchange.events,
        exchange.refused,
        exchange.problem or "-",
        seconds * 1_000,
    )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
