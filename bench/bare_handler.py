"""What the gateway is measured beside: a handler of the same framework that takes JSON, and does nothing with it."""

from __future__ import annotations

import msgspec
from fastapi import FastAPI, Request
from starlette.responses import Response

app = FastAPI()


@app.post("/v1/events/{type}")
async def bare(type: str, request: Request) -> Response:
    """Read JSON and accept it, whatever it is: no credentials, no check, no Kafka."""
    msgspec.json.decode(await request.body())
    return Response(b"{}", 202, media_type="application/json")
