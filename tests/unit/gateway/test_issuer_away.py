"""What a partner and an operator get while the issuer's key set can't be read: over real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from prometheus_client import REGISTRY
from starlette.requests import Request

from redrive.config import GatewayConfig, PartnerConfig, TokensConfig
from redrive.gateway import issuer_keys
from redrive.gateway.authentication import Authentication
from redrive.gateway.issuer_keys import AFTER_FAILURE, AT_MOST_EVERY, RENEW_AFTER, TRUSTED_FOR, IssuerKeys
from redrive.gateway.key_sets import from_url
from redrive.gateway.problems import Problem
from redrive.gateway.tokens import Tokens

OLD, NEW, INVENTED = (ECKey.generate_key("P-256", {"kid": kid}) for kid in ("old", "new", "invented"))
TOKENS = TokensConfig(issuer="https://i.example/", audience="events", jwks="https://i.example/jwks")
ACME = PartnerConfig(types=frozenset({"t"}), clients=frozenset({"acme-backend"}), keys=frozenset())
SETTINGS = GatewayConfig(types={"t": "topic"}, partners={"acme": ACME}, tokens=TOKENS)


class Issuer:
    """Tells its keys by HTTP, counts who asks, and can fail in several ways."""

    def __init__(self) -> None:
        self.keys, self.how, self.asked, self.port = [OLD], "good", 0, 0
        self.now = 1000.0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield
            self.how = "cut"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            while self.how == "silent":
                await asyncio.sleep(0.01)
            if self.how != "cut":
                body = json.dumps({"keys": [key.as_dict(private=False) for key in self.keys]}).encode()
                status = b"500 No" if self.how == "error" else b"200 OK"
                body = b"<html>secret-of-the-issuer" if self.how == "nonsense" else body
                writer.write(b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (status, len(body)))
                writer.write(body)
                await writer.drain()
        writer.close()


class Door:
    """Asks who a token's sender is, as a request does."""

    def __init__(self, issuer: Issuer, keys: IssuerKeys) -> None:
        self.issuer, self.keys = issuer, keys
        self.tokens = Tokens(TOKENS, keys)
        self._authentication = Authentication(SETTINGS, self.tokens)

    async def answer(self, key: ECKey, kid: str = "") -> int:
        return (await self.refusal(key, kid) or Problem(202, "", "")).status

    async def refusal(self, key: ECKey, kid: str = "") -> Problem | None:
        until = int(time.time()) + 60
        claims = {"iss": TOKENS.issuer, "aud": TOKENS.audience, "exp": until, "client_id": "acme-backend"}
        token = jwt.encode({"alg": "ES256", "kid": kid or key.kid}, claims, key, algorithms=["ES256"])
        request = Request({"type": "http", "headers": [(b"authorization", f"Bearer {token}".encode())]})
        try:
            assert await self._authentication.partner(request) == "acme"
        except Problem as problem:
            return problem
        return None


def run(steps: Callable[[Issuer, Door], Awaitable[None]]) -> None:
    async def all_steps() -> None:
        issuer = Issuer()
        async with issuer.open(), httpx2.AsyncClient(trust_env=False) as client:
            keys = IssuerKeys("the-place", from_url(f"http://127.0.0.1:{issuer.port}/", client), lambda: issuer.now)
            await keys.ask()
            await steps(issuer, Door(issuer, keys))

    asyncio.run(all_steps())


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what was asked for in the background."""
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.005)


def failures() -> float:
    return REGISTRY.get_sample_value("redrive_gateway_key_set_asks_total", {"outcome": "failed"}) or 0.0


async def one_more_failure(before: float) -> None:
    await until(lambda: failures() > before)


@pytest.mark.parametrize("how", ["error", "silent", "nonsense", "cut"])
def test_a_partner_whose_issuer_changed_its_key_and_went_away_is_put_off_and_not_refused(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer_keys, "_PATIENCE", 0.2)
    monkeypatch.setattr(issuer_keys, "IN_ALL", 0.5)

    async def steps(issuer: Issuer, door: Door) -> None:
        before = failures()
        issuer.keys, issuer.how = [OLD, NEW], how
        issuer.now += AT_MOST_EVERY
        problem = await door.refusal(NEW)
        assert problem is not None
        assert (problem.status, problem.kind) == (503, "unavailable")
        assert "the keys of this token's issuer can't be asked for now" in problem.detail
        assert "the-place" not in str(problem.as_json())
        assert "secret" not in str(problem.as_json())
        await one_more_failure(before)
        problem = await door.refusal(NEW)
        assert problem is not None
        assert problem.headers["Retry-After"] == str(int(AFTER_FAILURE))
        issuer.how = "good"
        issuer.now += int(problem.headers["Retry-After"])
        await door.answer(OLD)
        await until(lambda: not door.keys.is_away)
        assert await door.answer(NEW) == 202

    run(steps)


def test_an_invented_key_id_is_refused_while_the_issuer_answers() -> None:
    async def steps(issuer: Issuer, door: Door) -> None:
        for _ in range(3):
            assert await door.answer(INVENTED) == 401
            issuer.now += AT_MOST_EVERY
        assert await door.answer(INVENTED) == 401
        assert issuer.asked == 4

    run(steps)


def test_an_invented_key_id_is_refused_again_as_soon_as_the_issuer_is_back() -> None:
    async def steps(issuer: Issuer, door: Door) -> None:
        issuer.how = "error"
        issuer.now += AT_MOST_EVERY
        assert await door.answer(INVENTED) == 503
        issuer.how = "good"
        issuer.now += AFTER_FAILURE
        assert await door.answer(OLD) == 202
        await until(lambda: not door.keys.is_away)
        assert await door.answer(INVENTED) == 401

    run(steps)


def test_a_flood_of_invented_key_ids_has_an_issuer_that_is_away_asked_once_in_half_a_minute() -> None:
    async def steps(issuer: Issuer, door: Door) -> None:
        issuer.how = "error"
        issuer.now += AT_MOST_EVERY
        before = issuer.asked
        for second in range(61):
            answers = await asyncio.gather(*(door.answer(INVENTED, f"k-{second}-{each}") for each in range(5)))
            assert answers == [503] * 5
            assert await door.answer(OLD) == 202
            await asyncio.sleep(0.005)  # for what was asked for in the background
            issuer.now += 1
        assert issuer.asked - before == 1 + 60 // AFTER_FAILURE

    run(steps)


def test_a_token_of_a_known_key_is_taken_until_the_hour_is_over_and_nobody_waits_for_the_issuer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(issuer_keys, "_PATIENCE", 60.0)

    async def steps(issuer: Issuer, door: Door) -> None:
        issuer.how = "error"
        issuer.now += AT_MOST_EVERY
        assert await door.answer(INVENTED) == 503
        for _ in range(100):
            before = failures()
            issuer.now += AFTER_FAILURE
            assert await door.answer(OLD) == 202
            await one_more_failure(before)
        before, issuer.how = failures(), "silent"
        issuer.now += AFTER_FAILURE
        async with asyncio.timeout(20):
            for _ in range(30):
                assert await door.answer(OLD) == 202
                assert await door.answer(INVENTED) == 503
        issuer.how = "error"
        await one_more_failure(before)
        issuer.now = 1000.0 + TRUSTED_FOR + 1
        assert await door.answer(OLD) == 503

    run(steps)


@pytest.mark.parametrize("left", ["nothing", "others"])
def test_an_issuer_that_takes_its_only_key_back_is_not_taken_for_one_that_is_away(
    left: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def steps(issuer: Issuer, door: Door) -> None:
        issuer.keys = [] if left == "nothing" else [ECKey.generate_key("P-384", {"kid": "of-another-kind"})]
        issuer.now += RENEW_AFTER + 1
        assert await door.answer(OLD) == 503
        assert not door.tokens.can_be_checked()
        issuer.keys = [NEW]
        issuer.now += AFTER_FAILURE
        assert await door.answer(NEW) == 202
        assert await door.answer(OLD) == 401

    run(steps)
    assert "the-place has no key for RS256 or ES256" in caplog.records[0].getMessage()
    assert "no token can be checked" in caplog.records[0].getMessage()


def test_whoever_looks_sees_that_the_issuer_is_away_and_has_it_asked_again_also_without_any_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def steps(issuer: Issuer, door: Door) -> None:
        before = failures()
        assert door.tokens.can_be_checked()
        assert not door.tokens.is_issuer_away()
        issuer.how = "error"
        issuer.now += AT_MOST_EVERY
        await door.answer(INVENTED)
        assert failures() == before + 1
        for _ in range(10):
            assert door.tokens.can_be_checked()
            assert door.tokens.is_issuer_away()
        assert issuer.asked == 2
        issuer.how = "good"
        issuer.now += AFTER_FAILURE
        assert door.tokens.can_be_checked()
        await until(lambda: not door.tokens.is_issuer_away())
        assert failures() == before + 1

    run(steps)
    failed, back = [record.getMessage() for record in caplog.records]
    assert "the-place can't be read (it answered 500)" in failed
    assert "good for 60 minutes, and a token of any other key gets 503" in failed
    assert "the-place is read again" in back
