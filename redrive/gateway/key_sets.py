"""JSON Web Key Sets (RFC 7517): read from where an issuer tells them, and those keys in them that are good for us."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

log = logging.getLogger(__name__)

_TIMEOUT = 5.0
_MOST_BYTES = 1 << 20
_LEAST_RSA_BITS = 2_048

IssuerKey = RSAKey | ECKey
Fetch = Callable[[], Awaitable[bytes]]


class _KeySet(msgspec.Struct):
    keys: list[Any]


def read_keys(document: bytes) -> dict[str, IssuerKey]:
    """Read a key set: those keys that can check RS256 or ES256 signatures, by their ids.

    Others, and those too weak, are left out; so a symmetric key never gets in here, and there may be none at all.

    Raises:
        msgspec.DecodeError: it is no key set.
    """
    keys: dict[str, IssuerKey] = {}
    for each in msgspec.json.decode(document, type=_KeySet).keys:
        kid = each.get("kid") if isinstance(each, dict) else None
        if isinstance(kid, str) and (key := _usable(each)) is not None:
            keys[kid] = key
    return keys


def _usable(jwk: Mapping[str, Any]) -> IssuerKey | None:
    public = {name: value for name, value in jwk.items() if name in {"kty", "n", "e", "crv", "x", "y"}}
    if jwk.get("use") not in (None, "sig"):
        return None
    try:
        match jwk.get("kty"), jwk.get("alg"):
            case "RSA", None | "RS256":
                rsa = RSAKey.import_key(public)
                return rsa if rsa.public_key.key_size >= _LEAST_RSA_BITS else None
            case "EC", None | "ES256" if jwk.get("crv") == "P-256":
                return ECKey.import_key(public)
    except (JoseError, ValueError, TypeError, KeyError):
        log.warning("a key of the issuer can't be used: it is malformed")
    return None


def from_url(url: str, client: httpx2.AsyncClient) -> Fetch:
    """Return what fetches a key set by HTTP; it raises httpx2's errors, and ValueError for too large an answer."""

    async def fetch() -> bytes:
        async with client.stream("GET", url, timeout=_TIMEOUT, headers={"Accept": "application/json"}) as answer:
            answer.raise_for_status()
            body = b""
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > _MOST_BYTES:
                    raise ValueError("it is larger than any key set")
            return body

    return fetch


def from_file(path: Path) -> Fetch:
    """Return what reads a key set from a file."""

    async def fetch() -> bytes:
        return await asyncio.to_thread(path.read_bytes)

    return fetch
