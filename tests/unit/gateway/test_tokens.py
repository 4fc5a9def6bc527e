"""Access tokens: which are good, and what attackers make instead."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from redrive.config import TokensConfig
from redrive.gateway.issuer_keys import IssuerKeys
from redrive.gateway.problems import Problem
from redrive.gateway.tokens import Tokens

RSA = RSAKey.generate_key(2048, {"kid": "rsa-1", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "ec-1", "use": "sig"})
STRANGER = RSAKey.generate_key(2048, {"kid": "rsa-1"})
SETTINGS = TokensConfig(issuer="https://issuer.example/", audience="events", jwks="https://issuer.example/jwks")


async def _key_set() -> bytes:
    return json.dumps({"keys": [key.as_dict(private=False) for key in (RSA, EC)]}).encode()


def client(token: str) -> str:
    async def ask() -> str:
        return await Tokens(SETTINGS, IssuerKeys("here", _key_set)).client(token)

    return asyncio.run(ask())


def refusal(token: str) -> str:
    with pytest.raises(Problem) as refused:
        client(token)
    assert refused.value.status == 401
    assert refused.value.headers["WWW-Authenticate"].startswith("Bearer ")
    return refused.value.detail


def claims(**other: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {"iss": "https://issuer.example/", "aud": "events", "exp": now + 60, "iat": now, "client_id": "acme"}
    return {name: value for name, value in (good | other).items() if value is not None}


def signed(key: Any = RSA, header: dict[str, Any] | None = None, **other: Any) -> str:
    known = {"alg": "ES256" if isinstance(key, ECKey) else "RS256", "kid": key.kid}
    protected = known | (header or {})
    return jwt.encode(protected, claims(**other), key, algorithms=[protected["alg"]])


def by_hand(header: dict[str, Any], signature: Callable[[bytes], bytes] = lambda _: b"x") -> str:
    """Put a token together that no library would make."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims())]
    text = b".".join(parts)
    return (text + b"." + base64.urlsafe_b64encode(signature(text)).rstrip(b"=")).decode()


def test_a_token_of_the_issuer_for_this_audience_names_the_client() -> None:
    assert client(signed()) == "acme"
    assert client(signed(EC)) == "acme"
    assert client(signed(aud=["others", "events"])) == "acme"
    assert client(signed(header={"typ": "at+JWT"})) == "acme"


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"aud": "others"}, "aud"),
        ({"aud": ["others"]}, "aud"),
        ({"aud": None}, "lacks aud"),
        ({"iss": "https://evil.example/"}, "iss"),
        ({"iss": "https://issuer.example"}, "iss"),
        ({"iss": None}, "lacks iss"),
        ({"exp": 1_600_000_000}, "expired"),
        ({"exp": None}, "lacks exp"),
        ({"exp": "tomorrow"}, "exp"),
        ({"nbf": 4_000_000_000}, "nbf"),
        ({"client_id": None}, "lacks client_id"),
        ({"client_id": ["acme"]}, "lacks client_id"),
    ],
)
def test_a_token_for_others_of_others_or_of_another_time_is_refused(other: dict[str, Any], told: str) -> None:
    assert told in refusal(signed(**other))


def test_clocks_may_differ_by_some_seconds() -> None:
    assert client(signed(exp=int(time.time()) - 10, nbf=int(time.time()) + 10)) == "acme"


@pytest.mark.parametrize("alg", ["none", "None", "nOnE", ""])
def test_a_token_without_a_signature_is_refused(alg: str) -> None:
    assert "RS256 or ES256" in refusal(by_hand({"alg": alg, "kid": "rsa-1"}))
    assert "no JWT" in refusal(by_hand({"alg": alg, "kid": "rsa-1"}).rpartition(".")[0] + ".")


@pytest.mark.parametrize("kid", ["rsa-1", "ec-1"])
def test_a_public_key_is_no_secret_of_a_symmetric_algorithm(kid: str) -> None:
    for key in (RSA.as_pem(private=False), json.dumps(RSA.as_dict(private=False)).encode()):
        token = by_hand({"alg": "HS256", "kid": kid}, lambda text, key=key: hmac.digest(key, text, hashlib.sha256))
        assert "RS256 or ES256" in refusal(token)


def test_a_key_is_used_with_its_own_algorithm_only() -> None:
    assert "signature" in refusal(signed(RSA, {"kid": "ec-1"}))
    assert "signature" in refusal(signed(EC, {"kid": "rsa-1"}))


@pytest.mark.parametrize("alg", ["RS384", "RS512", "PS256", "ES384", "EdDSA"])
def test_other_algorithms_are_refused_whoever_signs(alg: str) -> None:
    assert "RS256 or ES256" in refusal(by_hand({"alg": alg, "kid": "rsa-1"}))


def test_a_signature_of_somebody_else_s_key_is_refused_whatever_the_header_brings_along() -> None:
    public = STRANGER.as_dict(private=False)
    for header in ({}, {"jwk": public}, {"jku": "https://evil.example/jwks"}, {"x5u": "https://evil.example/"}):
        assert "signature" in refusal(signed(STRANGER, header))


def test_a_header_that_demands_what_is_not_understood_is_refused() -> None:
    assert "signature" in refusal(by_hand({"alg": "RS256", "kid": "rsa-1", "crit": ["exp"], "exp": 1}))


@pytest.mark.parametrize("kid", ["rsa-2", "", "../../etc/passwd", "' OR 1=1 --", "/dev/null", "rsa-1\x00", "RSA-1"])
def test_a_key_id_is_only_looked_up_among_the_issuer_s_keys(kid: str) -> None:
    assert "a key that is not known here" in refusal(by_hand({"alg": "RS256", "kid": kid}))


@pytest.mark.parametrize("header", [{"alg": "RS256"}, {"alg": "RS256", "kid": 1}, {"kid": "rsa-1"}, {"alg": ["RS256"]}])
def test_a_header_without_algorithm_or_key_id_is_refused(header: dict[str, Any]) -> None:
    assert "lacks alg or kid" in refusal(by_hand(header))


def test_a_token_of_another_kind_is_refused() -> None:
    assert "access token" in refusal(signed(header={"typ": "logout+jwt"}))


def test_a_token_that_was_changed_is_refused() -> None:
    head, body, signature = signed().split(".")
    other = base64.urlsafe_b64encode(json.dumps(claims(client_id="evil")).encode()).rstrip(b"=").decode()
    assert "signature" in refusal(f"{head}.{other}.{signature}")
    assert "signature" in refusal(f"{head}.{body}.{signature[:-8]}AAAAAAAA")


@settings(deadline=None)
@given(st.one_of(st.text(max_size=60), st.from_regex(r"[A-Za-z0-9_=-]{0,40}(\.[A-Za-z0-9_=-]{0,40}){0,5}")))
def test_whatever_is_sent_as_a_token_is_refused_and_nothing_else_happens(text: str) -> None:
    refusal(text)


@settings(deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_whatever_stands_in_a_token_of_the_right_form_is_refused(body: bytes, signature: bytes) -> None:
    head = signed().split(".")[0]
    parts = [base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (body, signature)]
    refusal(".".join([head, *parts]))


def test_a_signed_body_that_is_no_object_is_refused() -> None:
    from joserfc import jws

    for body in (b"[]", b"1", b"nonsense", b'{"exp": 1e999}', b'{"iss": {}}'):
        refusal(jws.serialize_compact({"alg": "RS256", "kid": "rsa-1"}, body, RSA))


@pytest.mark.filterwarnings("ignore:Key size should be")
def test_a_symmetric_or_weak_key_in_the_key_set_is_left_out() -> None:
    from redrive.gateway.issuer_keys import read_keys

    secret = OctKey.generate_key(256, {"kid": "secret"})
    weak = RSAKey.generate_key(1024, {"kid": "weak"})
    other = ECKey.generate_key("P-384", {"kid": "p384"})
    encrypting = RSAKey.generate_key(2048, {"kid": "enc", "use": "enc"})
    keys = [secret.as_dict(), *(key.as_dict(private=False) for key in (weak, other, encrypting, RSA))]
    assert set(read_keys(json.dumps({"keys": [*keys, {"kty": "RSA", "kid": "broken"}, 7]}).encode())) == {"rsa-1"}
    assert read_keys(json.dumps({"keys": [secret.as_dict()]}).encode()) == {}
