"""The keys of who issues tokens: a JSON Web Key Set (RFC 7517), fetched, kept, and fetched again when it changes.

Keys are asked for again every five minutes in the background, and at once for a token with an unknown key id, since
issuers change their keys; but never more often than every ten seconds, whoever invents key ids. While the issuer can't
be reached, the keys that are known stay good.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from redrive.errors import UnavailableError

log = logging.getLogger(__name__)

RENEW_AFTER = 300.0
AT_MOST_EVERY = 10.0
_TIMEOUT = 5.0
_IN_ALL = 10.0
_MOST_BYTES = 1 << 20
_LEAST_RSA_BITS = 2_048

IssuerKey = RSAKey | ECKey
Fetch = Callable[[], Awaitable[bytes]]


class IssuerKeys:
    """The keys of one issuer. For one event loop.

    Args:
        place: where they come from, for messages.
        fetch: reads the key set.
        clock: seconds, only rising.
    """

    def __init__(self, place: str, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._place, self._fetch, self._clock = place, fetch, clock
        self._keys: dict[str, IssuerKey] | None = None
        self._fetched = self._asked = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, kid: str) -> IssuerKey | None:
        """Return the key with this id; None if the issuer has none.

        Raises:
            UnavailableError: no keys are known, and they can't be fetched now.
        """
        if self._keys is not None and kid in self._keys:
            if self._clock() - self._fetched > RENEW_AFTER:
                self._renew()
            return self._keys[kid]
        if (fetching := self._renew()) is not None:
            # Whoever leaves must not stop it for the others.
            await asyncio.shield(fetching)
        if self._keys is None:
            raise UnavailableError(f"key set {self._place}", "no keys of the issuer are known, and it does not answer")
        return self._keys.get(kid)

    def _renew(self) -> asyncio.Task[None] | None:
        """Have the keys fetched, unless that was tried just now; return what fetches them."""
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        now = self._clock()
        if now - self._asked < AT_MOST_EVERY:
            return None
        self._asked = now
        self._fetching = asyncio.get_running_loop().create_task(self._load())
        return self._fetching

    async def _load(self) -> None:
        try:
            async with asyncio.timeout(_IN_ALL):  # an issuer may send a byte now and then, for ever
                keys = read_keys(await self._fetch())
        except Exception as error:  # whatever an issuer sends: without this, no key would be renewed any more
            kept = "goes on with those that are known" if self._keys else "no token can be checked"
            log.warning("the key set %s can't be read (%s): %s", self._place, type(error).__name__, kept)
            return
        self._keys, self._fetched = keys, self._clock()


def read_keys(document: bytes) -> dict[str, IssuerKey]:
    """Read a key set: those keys that can check RS256 or ES256 signatures, by their ids.

    Others, and those too weak, are left out; so a symmetric key never gets in here.

    Raises:
        ValueError: it is no key set, or has no such key.
    """
    listed = msgspec.json.decode(document, type=dict[str, Any]).get("keys")
    keys: dict[str, IssuerKey] = {}
    for each in listed if isinstance(listed, list) else []:
        kid = each.get("kid") if isinstance(each, dict) else None
        if isinstance(kid, str) and (key := _usable(each)) is not None:
            keys[kid] = key
    if not keys:
        raise ValueError("it has no key with a kid for RS256 or ES256")
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
    """Return what fetches a key set by HTTP."""

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
