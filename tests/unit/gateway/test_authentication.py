"""Who asks, and what is told to whom nobody knows."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request

from redrive.config import GatewayConfig, PartnerConfig, TokensConfig
from redrive.gateway.api_keys import hash_of, new_key
from redrive.gateway.authentication import Authentication
from redrive.gateway.issuer_keys import IssuerKeys
from redrive.gateway.problems import Problem
from redrive.gateway.tokens import Tokens

KEY = new_key()
TOKENS = TokensConfig(issuer="https://i.example/", audience="events", jwks="https://i.example/jwks")
ACME = PartnerConfig(types=frozenset({"t"}), clients=frozenset({"acme-backend"}), keys=frozenset({hash_of(KEY)}))
SETTINGS = GatewayConfig(types={"t": "topic"}, partners={"acme": ACME})


async def away() -> bytes:
    raise OSError


def asked(*headers: tuple[str, str], tokens: bool = True) -> str:
    request = Request({"type": "http", "headers": [(name.lower().encode(), text.encode()) for name, text in headers]})

    async def ask() -> str:
        checked = Tokens(TOKENS, IssuerKeys("there", away)) if tokens else None
        return await Authentication(SETTINGS, checked).partner(request)

    return asyncio.run(ask())


def refusal(*headers: tuple[str, str], tokens: bool = True) -> Problem:
    with pytest.raises(Problem) as refused:
        asked(*headers, tokens=tokens)
    return refused.value


def test_an_api_key_names_its_partner() -> None:
    assert asked(("X-API-Key", KEY)) == "acme"


def test_none_or_several_credentials_are_refused() -> None:
    for headers in ([], [("X-API-Key", KEY)] * 2, [("X-API-Key", KEY), ("Authorization", "Bearer x")]):
        assert refusal(*headers).status == 401


def test_without_an_issuer_in_the_settings_no_token_is_taken() -> None:
    assert refusal(("Authorization", "Bearer a.b.c"), tokens=False).status == 401


def test_while_the_issuer_s_keys_are_not_known_nobody_is_told_that_a_good_token_is_bad() -> None:
    token = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ.e30.e30"  # {"alg": "RS256", "kid": "k"}
    problem = refusal(("Authorization", f"Bearer {token}"))
    assert problem.status == 503
    assert int(problem.headers["Retry-After"]) > 0
