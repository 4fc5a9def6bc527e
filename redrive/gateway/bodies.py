"""Bodies of requests, bounded in size and time; and what is on its way of them, in bytes."""

from __future__ import annotations

import asyncio
from collections import Counter

from starlette.requests import ClientDisconnect, Request

from redrive.gateway.problems import Problem, crowded

MOST_ARRIVING = 32 << 20
"""Bytes that a partner may have sent of bodies that are not there to their end; or twice the largest body's, if that is
more."""


class Bodies:
    """Reads bodies. For one event loop.

    Each is read into memory, and a sender may take its time: whoever begins many large ones at once, and ends none,
    would fill it for all partners.

    Args:
        most: bytes of a body.
        seconds: for all of it.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._most, self._seconds = most, seconds
        # A large body must not be refused for any other that is on its way, however small.
        self._most_arriving = max(MOST_ARRIVING, 2 * most)
        self._arriving: Counter[str] = Counter()
        """Partner → bytes."""

    async def read(self, request: Request, partner: str) -> bytes:
        """Read the body of a partner's request.

        Raises:
            Problem: it is too large, too slow, compressed, its sender has gone, or too many more are on their way.
        """
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Problem(415, "encoding", "bodies are taken uncompressed only")
        length = request.headers.get("Content-Length", "")
        if length.isdigit() and int(length) > self._most:
            raise self._too_large()
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._seconds):
                async for part in request.stream():
                    others = self._arriving[partner] - size
                    size += len(part)
                    self._arriving[partner] += len(part)
                    if size > self._most:
                        raise self._too_large()
                    if others and others + size > self._most_arriving:
                        raise crowded()
                    parts.append(part)
        except TimeoutError:
            raise Problem(408, "slow-body", f"the body did not arrive within {self._seconds:g} s") from None
        except ClientDisconnect:
            raise Problem(400, "disconnected", "the sender has gone") from None
        finally:
            self._arriving[partner] -= size
        return b"".join(parts)

    def _too_large(self) -> Problem:
        return Problem(413, "too-large", f"the body has more than {self._most:,} bytes")
