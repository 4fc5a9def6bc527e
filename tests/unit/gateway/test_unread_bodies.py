"""Answers that come before a request's body is there, over real HTTP: the connection outlives them only if it can."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvicorn
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from redrive.gateway.exchange import Exchanges

Steps = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without a look at the body."""
    await Response(b"no", 401)(scope, receive, send)


def run(steps: Steps) -> None:
    """Take steps as a client of a server that refuses everything."""

    async def inside() -> None:
        server = uvicorn.Server(uvicorn.Config(Exchanges(refusing), port=0, lifespan="off", log_config=None))
        serving = asyncio.create_task(server.serve())
        async with asyncio.timeout(10):
            while not server.started:
                await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await steps(reader, writer)
            finally:
                writer.close()
                server.should_exit = True
                await serving

    asyncio.run(inside())


def request(*headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join(["POST / HTTP/1.1", "Host: x", *headers, "", ""]).encode() + body


async def answered(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401 ")
    await reader.readexactly(2)
    return head.lower()


def test_a_connection_whose_body_came_along_with_its_request_goes_on() -> None:
    async def steps(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for sent in (
            request("Content-Length: 5", body=b"12345"),
            request(),
            request("Transfer-Encoding: chunked", body=b"5\r\n12345\r\n0\r\n\r\n"),
            request("Content-Length: 0"),
        ):
            writer.write(sent)
            assert b"connection: close" not in await answered(reader)

    run(steps)


@pytest.mark.parametrize(
    "sent",
    [
        request("Content-Length: 5", body=b"1234"),
        request("Content-Length: 1000000", body=b"1" * 200_000),
        request("Transfer-Encoding: chunked", body=b"5\r\n12345\r\n"),
        request("Content-Length: 5", "Expect: 100-continue"),
    ],
    ids=["the last byte", "most", "the last chunk", "all"],
)
def test_a_connection_whose_body_is_not_there_is_closed_with_the_answer(sent: bytes) -> None:
    async def steps(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        assert b"connection: close" in await answered(reader)
        assert await reader.read() == b""

    run(steps)


def test_who_drips_on_after_an_answer_is_not_listened_to() -> None:
    async def steps(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request("Content-Length: 1000000"))
        await answered(reader)

        async def drip() -> None:
            for _ in range(50):
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)

        with pytest.raises(ConnectionError):
            await drip()

    run(steps)
