"""Who asks: a partner, by its access token or its API key."""

from __future__ import annotations

from starlette.requests import Request

from redrive.config.gateway import GatewayConfig
from redrive.gateway.api_keys import ApiKeys
from redrive.gateway.problems import unauthenticated
from redrive.gateway.tokens import Tokens

KEY_HEADER = "X-API-Key"


class Authentication:
    """Tells partners by what they send.

    Args:
        settings: the gateway's.
        tokens: what checks access tokens; None: there are API keys only.
    """

    def __init__(self, settings: GatewayConfig, tokens: Tokens | None) -> None:
        self._tokens, self._keys = tokens, ApiKeys(settings.partners)
        self._clients = {client: name for name, partner in settings.partners.items() for client in partner.clients}

    async def partner(self, request: Request) -> str:
        """Return the name of the partner that sent a request.

        Raises:
            Problem: nobody that is known; or the issuer's keys, or the one of its token, can't be asked for now.
        """
        authorizations, keys = request.headers.getlist("Authorization"), request.headers.getlist(KEY_HEADER)
        if len(authorizations) + len(keys) != 1:
            raise unauthenticated(f"send either one Authorization: Bearer header, or one {KEY_HEADER} header")
        partner = self._keys.partner(keys[0]) if keys else await self._by_token(authorizations[0])
        if partner is None:
            raise unauthenticated("these credentials are not known here")
        return partner

    async def _by_token(self, authorization: str) -> str | None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or self._tokens is None:
            raise unauthenticated("this kind of Authorization is not taken here")
        return self._clients.get(await self._tokens.client(token.strip()))
