"""What the gateway is measured beside, in the same framework: a handler that does nothing, and one a user would write.

``BENCH_BOOTSTRAP`` and ``BENCH_TOPIC`` say where the second one publishes.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import threading
from typing import Any

import fastavro
import msgspec
from confluent_kafka import Producer
from fastapi import FastAPI, Request
from starlette.responses import Response

from bench.platform import SCHEMA

app = FastAPI()
schema = fastavro.parse_schema(json.loads(SCHEMA.read_text()))


@app.post("/nothing/{type}")
async def nothing(type: str, request: Request) -> Response:
    """Read JSON and accept it, whatever it is."""
    msgspec.json.decode(await request.body())
    return Response(b"{}", 202, media_type="application/json")


@app.post("/plain/{type}")
async def plain(type: str, request: Request) -> Response:
    """Encode, produce, and answer when Kafka has acknowledged: no credentials, no strict check, no second path."""
    given = msgspec.json.decode(await request.body())
    events = given if isinstance(given, list) else [given]
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    _publish(events, done)
    await done
    return Response(b"{}", 202, media_type="application/json")


def _publish(events: list[dict[str, Any]], done: asyncio.Future[None]) -> None:
    loop, left = asyncio.get_running_loop(), [len(events)]

    def delivered(error: object, _message: object) -> None:
        assert error is None, error
        left[0] -= 1
        if not left[0]:
            loop.call_soon_threadsafe(done.set_result, None)

    for event in events:
        body = io.BytesIO()
        body.write(b"\x00\x00\x00\x00\x01")
        fastavro.schemaless_writer(body, schema, event["data"])
        _client().produce(os.environ["BENCH_TOPIC"], body.getvalue(), event.get("partitionkey"), on_delivery=delivered)


_clients: list[Producer] = []


def _client() -> Producer:
    if not _clients:
        client = Producer({"bootstrap.servers": os.environ["BENCH_BOOTSTRAP"], "enable.idempotence": True,
                           "compression.type": "lz4", "linger.ms": 5})  # fmt: skip
        _clients.append(client)

        def poll() -> None:
            while True:
                client.poll(0.1)

        threading.Thread(target=poll, daemon=True).start()
    return _clients[0]
