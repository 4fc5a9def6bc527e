"""Access tokens: JWTs that an issuer gives to clients for their credentials (OAuth 2.0; profile of RFC 9068).

What RFC 8725 asks for is kept: only RS256 and ES256 are taken, each with its own kind of key; keys come from the
issuer's key set and never from the token; issuer, audience and time are checked, all after the signature.
"""

from __future__ import annotations

import binascii
import re

import msgspec
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError
from joserfc.jwk import ECKey, RSAKey
from joserfc.jwt import JWTClaimsRegistry

from redrive.config.gateway import TokensConfig
from redrive.errors import UnavailableError
from redrive.gateway.issuer_keys import AT_MOST_EVERY, IssuerKeys
from redrive.gateway.problems import unauthenticated, unavailable

LEEWAY = 30
"""Seconds by which clocks may differ."""
_LONGEST = 8_192
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_KINDS: dict[str, type[RSAKey] | type[ECKey]] = {"RS256": RSAKey, "ES256": ECKey}
_TYPES = {None, "jwt", "at+jwt", "application/at+jwt"}


class _Header(msgspec.Struct):
    alg: str
    kid: str
    typ: str | None = None


class Tokens:
    """Tells whose tokens are good, and which client each is of."""

    def __init__(self, settings: TokensConfig, keys: IssuerKeys) -> None:
        self._keys, self._client_claim = keys, settings.client_claim
        self._claims = JWTClaimsRegistry(
            leeway=LEEWAY,
            iss={"essential": True, "value": settings.issuer},
            aud={"essential": True, "value": settings.audience},
            exp={"essential": True},
        )

    def can_be_checked(self) -> bool:
        """Tell whether the issuer's keys are there; if not, they are asked for."""
        return self._keys.are_good()

    def is_issuer_away(self) -> bool:
        """Tell whether tokens of keys that are not known here have to wait for the issuer."""
        return self._keys.is_away

    async def client(self, token: str) -> str:
        """Return the client that a token was given to.

        Raises:
            Problem: it is not good, and roughly why; or the issuer's keys are not there, or can't be asked for its own.
        """
        header = _header(token)
        kind = _KINDS.get(header.alg)
        if kind is None:
            raise unauthenticated("the token is not signed with RS256 or ES256")
        if (header.typ.lower() if header.typ else None) not in _TYPES:
            raise unauthenticated("the token is not an access token")
        try:
            key = await self._keys.key(header.kid)
        except UnavailableError:
            detail = "the keys of this token's issuer can't be asked for now, so it can't be checked; send this again"
            raise unavailable(detail, self._keys.known_in) from None
        if key is None:
            new = f"if the issuer has it since just now, send this again in {AT_MOST_EVERY:g} s"
            raise unauthenticated(f"the token is signed with a key that is not known here; {new}")
        if not isinstance(key, kind):
            raise unauthenticated("the token's signature is not good")
        try:
            claims = jwt.decode(token, key, algorithms=[header.alg]).claims
        except (JoseError, ValueError, TypeError):
            raise unauthenticated("the token's signature is not good") from None
        try:
            self._claims.validate(claims)
        except ExpiredTokenError:
            raise unauthenticated("the token has expired") from None
        except MissingClaimError as error:
            raise unauthenticated(f"the token lacks {error.claim}") from None
        except (InvalidClaimError, JoseError, ValueError, TypeError) as error:
            claim = getattr(error, "claim", "claims")
            raise unauthenticated(f"the token's {claim} is not what it must be here and now") from None
        client = claims.get(self._client_claim)
        if not isinstance(client, str) or not client:
            raise unauthenticated(f"the token lacks {self._client_claim}, which names the client")
        return client


def _header(token: str) -> _Header:
    """Read the header, which nobody has checked yet."""
    found = _COMPACT.fullmatch(token) if len(token) <= _LONGEST else None
    if found is None:
        raise unauthenticated("what was sent is no JWT")
    try:
        part = found[1]
        return msgspec.json.decode(binascii.a2b_base64(_padded(part)), type=_Header)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise unauthenticated("the token's header lacks alg or kid, or is no JSON") from None


def _padded(part: str) -> bytes:
    return part.translate(_STANDARD).encode() + b"=" * (-len(part) % 4)


_STANDARD = str.maketrans("-_", "+/")
