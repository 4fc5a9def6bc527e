"""The ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from redrive.config import Config
from redrive.config.gateway import GatewayConfig, TokensConfig
from redrive.dispatch import DispatchSettings
from redrive.gateway import cloud_events, description
from redrive.gateway.authentication import Authentication
from redrive.gateway.bodies import Bodies
from redrive.gateway.draining import Draining
from redrive.gateway.exchange import Exchange, Exchanges
from redrive.gateway.handing_over import Outcome
from redrive.gateway.issuer_keys import IssuerKeys
from redrive.gateway.key_sets import from_file, from_url
from redrive.gateway.page import page
from redrive.gateway.problems import Problem, not_granted
from redrive.gateway.publishing import Publisher
from redrive.gateway.quotas import Quotas
from redrive.gateway.reception import Reception
from redrive.gateway.tokens import Tokens
from redrive.producer import EventProducer

CLOSE_WITHIN = 10.0
"""Seconds at the end for what is being handed to the producer, and as many for what is not acknowledged."""


def create_app(config: Config) -> FastAPI:
    """Make the application; it opens its producer when its server starts it, and closes it at the end.

    Raises:
        ConfigError: the settings have no gateway.
    """
    settings = config.door()
    door = _Door(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with door.open(config):
            yield

    app = FastAPI(
        title="Events",
        description=description.TEXT,
        version="1",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,  # in their place there is a page of our own: see `redrive.gateway.page`
        redoc_url=None,
        openapi_tags=[],
    )
    app.add_middleware(Exchanges)
    app.add_exception_handler(Problem, _as_problem)
    app.add_exception_handler(HTTPException, _as_problem)
    app.add_api_route("/v1/events/{type}", door.receive, methods=["POST"], **description.receive(settings.max_batch))
    app.add_api_route("/livez", _live, methods=["GET"], **description.health("Whether the process serves."))
    app.add_api_route(
        "/readyz", door.ready, methods=["GET"], **description.health("Whether to send requests here.", drains=True)
    )
    description.complete(app)

    async def docs() -> Response:
        return page(app.openapi())

    app.add_api_route("/docs", docs, methods=["GET"], include_in_schema=False)
    return app


class _Door:
    """All that answers requests."""

    def __init__(self, settings: GatewayConfig) -> None:
        self._settings = settings
        self._quotas = Quotas(settings)
        self._bodies = Bodies(settings.max_body_bytes, settings.body_timeout)
        self._draining = Draining(settings.drain)
        self._has_api_keys = any(partner.api_keys for partner in settings.partners.values())
        self._tokens: Tokens | None = None
        self._authentication: Authentication
        self._reception: Reception

    @asynccontextmanager
    async def open(self, config: Config) -> AsyncIterator[None]:
        settings = self._settings
        async with AsyncExitStack() as stack:
            if settings.tokens:
                self._tokens = await _tokens(settings.tokens, config.folder, stack)
            self._authentication = Authentication(settings, self._tokens)
            producer = await asyncio.to_thread(_producer, config, settings)
            stack.push_async_callback(asyncio.to_thread, producer.close, CLOSE_WITHIN)
            publisher = Publisher(producer, {topic: config.topic(topic).cluster for topic in settings.types.values()})
            stack.push_async_callback(asyncio.to_thread, publisher.close, CLOSE_WITHIN)
            self._reception = Reception(settings, publisher)
            self._draining.listen()
            yield

    async def receive(self, type: str, request: Request) -> Response:
        exchange: Exchange = request.state.exchange
        exchange.partner = partner = await self._authentication.partner(request)
        if type not in self._settings.partners[partner].types:
            raise not_granted()
        exchange.event_type = type
        self._quotas.take(partner, 1)
        media = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media not in (cloud_events.SINGLE, cloud_events.BATCH):
            accepted = {"Accept-Post": f"{cloud_events.SINGLE}, {cloud_events.BATCH}"}
            detail = f"send {cloud_events.SINGLE}, or {cloud_events.BATCH}"
            raise Problem(415, "media-type", detail, headers=accepted)
        body = await self._bodies.read(request, partner)
        if media == cloud_events.SINGLE:
            return await self._one(exchange, cloud_events.parse_one(body))
        most = min(self._settings.max_batch, self._quotas.largest(partner))
        batch = cloud_events.parse_batch(body, most)
        self._quotas.take(partner, len(batch), held=1)
        return await self._several(exchange, batch)

    async def ready(self) -> Response:
        if self._draining.begun:
            return _json({"status": "draining"}, 503)
        if self._tokens is None:
            return _json({"status": "ready"}, 200)
        if self._tokens.can_be_checked():
            some = {"tokens": "known-keys-only"} if self._tokens.is_issuer_away() else {}
            return _json({"status": "ready"} | some, 200)
        if self._has_api_keys:  # an issuer that is away must not keep out those who need none
            return _json({"status": "ready", "tokens": "unavailable"}, 200)
        return _json({"status": "no-issuer-keys"}, 503)

    async def _one(self, exchange: Exchange, given: Any) -> Response:
        ((event, outcome),) = await self._take(exchange, [given])
        if outcome is not None:
            raise outcome
        return _json(event, 202)

    async def _several(self, exchange: Exchange, batch: list[Any]) -> Response:
        results = [
            event | ({"status": 202} if outcome is None else {"status": outcome.status, "problem": outcome.as_json()})
            for event, outcome in await self._take(exchange, batch)
        ]
        return _json({"events": results}, 207 if exchange.refused else 202)

    async def _take(self, exchange: Exchange, given: list[Any]) -> list[tuple[dict[str, Any], Outcome]]:
        events: list[cloud_events.PartnerEvent | Problem] = []
        for each in given:
            try:
                events.append(cloud_events.check_event(each, exchange.partner, exchange.event_type))
            except Problem as problem:
                events.append(problem)
        outcomes = await self._reception.take(exchange.partner, exchange.event_type, events)
        kinds = [outcome.kind for outcome in outcomes if outcome is not None]
        exchange.events, exchange.refused, exchange.problem = len(events), len(kinds), ",".join(sorted(set(kinds)))
        return [(_named(each), outcome) for each, outcome in zip(given, outcomes, strict=True)]


def _named(given: Any) -> dict[str, Any]:
    """Return what an event is known by to its sender, as far as it has given that."""
    known = given if isinstance(given, dict) else {}
    return {name: text if isinstance(text := known.get(name), str) else None for name in ("id", "source")}


def _producer(config: Config, settings: GatewayConfig) -> EventProducer:
    dispatch = DispatchSettings(
        gate_refresh=config.standby.gate_refresh,
        divert_after=config.standby.divert_after,
        publish_timeout=settings.answer_within,
        block_timeout=min(5.0, settings.answer_within / 2),  # back-pressure is told before patience ends
    )
    return EventProducer(settings.name, config, topics=set(settings.types.values()), settings=dispatch)


async def _tokens(settings: TokensConfig, folder: Path, stack: AsyncExitStack) -> Tokens:
    if "://" in settings.jwks:
        client = await stack.enter_async_context(httpx2.AsyncClient())
        fetch = from_url(settings.jwks, client)
    else:
        fetch = from_file(folder / settings.jwks)
    keys = IssuerKeys(settings.jwks, fetch)
    await keys.ask()  # so that a mistake in the settings is told now, and not by the first partner
    return Tokens(settings, keys)


async def _live() -> Response:
    return _json({"status": "live"}, 200)


async def _as_problem(request: Request, error: Exception) -> Response:
    match error:
        case Problem():
            problem = error
        case HTTPException(status_code=405):
            problem = Problem(405, "method", "this method is not taken here", headers=error.headers)
        case HTTPException(status_code=404):
            problem = Problem(404, "not-found", "there is nothing here")
        case _:
            problem = Problem(400, "malformed", "the request can't be read")
    exchange: Exchange = request.state.exchange
    exchange.problem = problem.kind
    return problem.response(exchange.request_id)


def _json(content: Any, status: int) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
