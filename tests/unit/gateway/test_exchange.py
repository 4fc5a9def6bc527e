"""Around a request: an answer and a line in the log whatever happens, and no word of what was sent."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from redrive.gateway.exchange import Exchanges

SECRET = "payload-" + "secret"  # not in the line that fails, which a traceback shows


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError(SECRET)


def test_an_unexpected_error_becomes_a_problem_and_its_text_is_told_nowhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    scope: dict[str, Any] = {
        "type": "http", "method": "EVIL\nMETHOD", "path": "/v1/events/payload-secret",
        "headers": [(b"x-request-id", b"mine-1"), (b"x-api-key", b"key-secret")],
    }  # fmt: skip
    with caplog.at_level(logging.INFO):
        asyncio.run(Exchanges(failing)(scope, receive, send))
    start, body = sent
    assert start["status"] == 500
    assert (b"x-request-id", b"mine-1") in start["headers"]
    assert json.loads(body["body"])["request_id"] == "mine-1"
    assert "mine-1 ? status=500 partner=- type=- events=0 refused=0 problem=internal ms=" in caplog.text
    assert "ValueError" in caplog.text
    assert "in failing" in caplog.text  # where it was
    assert "secret" not in caplog.text + str(body)
    assert "EVIL" not in caplog.text
