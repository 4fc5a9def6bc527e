"""The server: uvicorn, in one process or several, and metrics on a port of their own."""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import STARTUP_FAILURE

from redrive.config import Config
from redrive.config.gateway import GatewayConfig
from redrive.errors import RedriveError, UnavailableError
from redrive.gateway.workers import Workers

log = logging.getLogger(__name__)

_METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_LOGGING: Mapping[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"level": "INFO", "handlers": ["stderr"]},
    # httpx2 tells each request that it makes.
    "loggers": {"httpx2": {"level": "WARNING"}, "botocore": {"level": "WARNING"}},
}


_failures: list[RedriveError] = []
"""What has kept the application of this process from starting."""


def serve(settings: GatewayConfig) -> None:
    """Serve until told to stop by SIGTERM or SIGINT.

    Then it is not ready any more, goes on for ``drain`` seconds, finishes what is under way, and flushes its producer.

    Args:
        settings: the gateway's; worker processes read the file again.

    Raises:
        UnavailableError: the registry does not answer, or the port is taken.
        RedriveError: whatever else keeps it from starting.
    """
    with tempfile.TemporaryDirectory(prefix="redrive-gateway-") as folder:
        if settings.workers > 1:
            # Before prometheus_client is imported, here and in the workers: it decides then.
            os.environ[_METRICS_FOLDER] = folder
        _tell_metrics(settings)
        # Once it has stopped in good order, the server raises the signal again: nobody is to die of it.
        signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            _run(server_config(settings))
        except KeyboardInterrupt:
            pass
        except SystemExit:
            raise _failure(settings) from None


def server_config(settings: GatewayConfig) -> uvicorn.Config:
    """Say to uvicorn what the settings mean for it."""
    return uvicorn.Config(
        "redrive.gateway.server:app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        lifespan="on",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_keep_alive=settings.keep_alive,
        log_config=dict(_LOGGING),
        # On a busy machine a worker takes seconds until it answers its parent, and would be killed before it serves.
        timeout_worker_healthcheck=15,
        # A request whose headers are there is answered by then, whatever becomes of its body and its events.
        timeout_graceful_shutdown=math.ceil(settings.body_timeout + settings.answer_within) + 5,
    )


def _run(config: uvicorn.Config) -> None:
    if config.workers == 1:
        server = uvicorn.Server(config)
        server.run()
        return
    workers = Workers(config, sockets=[config.bind_socket()])
    workers.run()
    if workers.failed:
        sys.exit(STARTUP_FAILURE)


def _failure(settings: GatewayConfig) -> RedriveError:
    if _failures:
        return _failures[0]
    return UnavailableError("gateway", f"it could not start on {settings.host}:{settings.port}; its log says why")


def _tell_metrics(settings: GatewayConfig) -> None:
    if not settings.admin_port:
        return
    from prometheus_client import REGISTRY, CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = REGISTRY
    if settings.workers > 1:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    try:
        start_http_server(settings.admin_port, settings.admin_host, registry)
    except OSError as error:
        at = f"{settings.admin_host}:{settings.admin_port} (gateway.admin_host, admin_port)"
        raise UnavailableError("gateway", f"can't tell metrics on {at}: {error.strerror}") from error


def app() -> ASGIApp:
    """Make the application of one process, for uvicorn."""
    from redrive.gateway.app import create_app  # imports prometheus_client

    try:
        made = create_app(Config.load())
    except RedriveError as error:  # the settings have changed since the gateway was started
        _failures.append(error)
        log.error("this worker can't start: %s", error)  # noqa: TRY400 - in one line
        sys.exit(STARTUP_FAILURE)
    return _Quietly(made)


class _Quietly:
    """Tells what keeps the application from starting in one line, in place of a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return

        failed: list[Message] = []

        async def hold_failure(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                failed.append(message)
            else:
                await send(message)

        try:
            await self._app(scope, receive, hold_failure)
        except RedriveError as error:
            if not failed:
                raise
            _failures.append(error)
            await send({"type": "lifespan.startup.failed", "message": f"the gateway can't start: {error}"})
        except BaseException:
            for message in failed:
                await send(message)
            raise
