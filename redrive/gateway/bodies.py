"""Bodies of requests, bounded in size and time."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from redrive.gateway.problems import Problem


async def read_body(request: Request, most: int, seconds: float) -> bytes:
    """Read a body.

    Args:
        request: whose.
        most: bytes.
        seconds: for all of it.

    Raises:
        Problem: it is too large, too slow, compressed, or its sender has gone.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "encoding", "bodies are taken uncompressed only")
    length = request.headers.get("Content-Length", "")
    if length.isdigit() and int(length) > most:
        raise _too_large(most)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise _too_large(most)
                parts.append(part)
    except TimeoutError:
        raise Problem(408, "slow-body", f"the body did not arrive within {seconds:g} s") from None
    except ClientDisconnect:
        raise Problem(400, "disconnected", "the sender has gone") from None
    return b"".join(parts)


def _too_large(most: int) -> Problem:
    return Problem(413, "too-large", f"the body has more than {most:,} bytes")
