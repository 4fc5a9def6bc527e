"""The issuer's keys: asked for when needed, not more often, and kept when the issuer is away."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable

import httpx2
import pytest
from joserfc.jwk import ECKey

from redrive.errors import UnavailableError
from redrive.gateway import issuer_keys
from redrive.gateway.issuer_keys import AFTER_FAILURE, AT_MOST_EVERY, RENEW_AFTER, RENEW_EARLY, TRUSTED_FOR, IssuerKeys
from redrive.gateway.key_sets import from_url

OLD, NEW = (ECKey.generate_key("P-256", {"kid": kid}) for kid in ("old", "new"))


class Issuer:
    """Answers with its keys, and counts."""

    def __init__(self) -> None:
        self.keys, self.asked, self.away, self.now = [OLD], 0, False, 1000.0
        self.silent = False

    async def fetch(self) -> bytes:
        self.asked += 1
        await asyncio.sleep(60 if self.silent else 0)
        if self.away:
            raise OSError("away")
        return json.dumps({"keys": [key.as_dict(private=False) for key in self.keys]}).encode()


def run(steps: Callable[[Issuer, IssuerKeys], Awaitable[None]]) -> None:
    issuer = Issuer()

    async def all_steps() -> None:
        await steps(issuer, IssuerKeys("here", issuer.fetch, lambda: issuer.now))

    asyncio.run(all_steps())


def test_keys_are_asked_for_once_however_many_tokens_need_them() -> None:
    async def steps(issuer: Issuer, keys: IssuerKeys) -> None:
        found = await asyncio.gather(*(keys.key("old") for _ in range(50)))
        assert all(found)
        assert issuer.asked == 1

    run(steps)


def test_a_new_key_is_found_by_one_more_request_and_invented_ones_ask_no_more_until_some_time_has_passed() -> None:
    async def steps(issuer: Issuer, keys: IssuerKeys) -> None:
        await keys.key("old")
        issuer.keys = [NEW]
        issuer.now += AT_MOST_EVERY + 1
        assert await keys.key("new") is not None
        assert await keys.key("old") is None
        issuer.now += 1
        for number in range(100):
            assert await keys.key(f"invented-{number}") is None
        assert issuer.asked == 2

    run(steps)


def test_however_many_key_ids_are_invented_known_keys_are_good_and_a_new_one_is_found_when_the_time_has_come() -> None:
    async def steps(issuer: Issuer, keys: IssuerKeys) -> None:
        await keys.key("old")
        issuer.now += AT_MOST_EVERY
        assert await keys.key("invented") is None
        issuer.keys = [OLD, NEW]
        issuer.now += 1
        assert await keys.key("new") is None
        assert await keys.key("old") is not None
        issuer.now += AT_MOST_EVERY
        found = await asyncio.gather(*(keys.key(f"invented-{number}") for number in range(50)), keys.key("new"))
        assert [key is not None for key in found] == [False] * 50 + [True]
        assert issuer.asked == 3

    run(steps)


@pytest.mark.parametrize("how", ["away", "silent"])
def test_of_an_issuer_that_does_not_answer_nobody_says_that_it_lacks_a_key_and_known_ones_are_good(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer_keys, "_PATIENCE", 0.0)

    async def steps(issuer: Issuer, keys: IssuerKeys) -> None:
        await keys.key("old")
        setattr(issuer, how, True)
        for number in range(20):
            issuer.now += AT_MOST_EVERY
            with pytest.raises(UnavailableError):
                await keys.key(f"invented-{number}")
            assert keys.known_in <= AFTER_FAILURE
            assert await keys.key("old") is not None

    run(steps)


def test_while_the_issuer_is_away_known_keys_stay_good() -> None:
    async def steps(issuer: Issuer, keys: IssuerKeys) -> None:
        await keys.key("old")
        issuer.away = True
        issuer.now += RENEW_AFTER + 1
        for _ in range(5):
            assert await keys.key("old") is not None
            await asyncio.sleep(0.01)
        with pytest.raises(UnavailableError):
            await keys.key("new")
        assert issuer.asked == 2

    run(steps)


def test_a_key_that_the_issuer_has_taken_back_is_not_taken_once_more_when_it_is_due_for_renewal() -> None:
    async def steps(issuer: Issuer, keys: IssuerKeys) -> None:
        await keys.key("old")
        issuer.keys = [NEW]
        issuer.now += RENEW_AFTER + 1
        assert await asyncio.gather(*(keys.key("old") for _ in range(5))) == [None] * 5
        assert issuer.asked == 2

    run(steps)


def test_a_renewal_that_failed_long_ago_lets_no_withdrawn_key_in() -> None:
    async def steps(issuer: Issuer, keys: IssuerKeys) -> None:
        await keys.key("old")
        issuer.away = True
        issuer.now += RENEW_AFTER + 1
        assert await keys.key("old") is not None
        issuer.away, issuer.keys = False, [NEW]
        issuer.now += RENEW_AFTER
        assert await keys.key("old") is None

    run(steps)


def test_keys_in_use_are_renewed_before_that_is_due_so_that_no_token_waits_for_it() -> None:
    async def steps(issuer: Issuer, keys: IssuerKeys) -> None:
        await keys.key("old")
        issuer.now += RENEW_EARLY + 1
        issuer.silent = True
        async with asyncio.timeout(1):
            assert await keys.key("old") is not None
        await asyncio.sleep(0.01)
        assert issuer.asked == 2

    run(steps)


def test_an_issuer_that_does_not_answer_keeps_tokens_waiting_once_and_not_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(issuer_keys, "_PATIENCE", 0.2)

    async def steps(issuer: Issuer, keys: IssuerKeys) -> None:
        await keys.key("old")
        issuer.now += RENEW_AFTER + 1
        issuer.silent = True
        async with asyncio.timeout(1):
            assert await keys.key("old") is not None
        async with asyncio.timeout(0.1):
            for _ in range(20):
                assert await keys.key("old") is not None

    run(steps)


def test_the_last_good_keys_of_an_issuer_that_is_away_are_good_for_an_hour_and_no_longer() -> None:
    async def steps(issuer: Issuer, keys: IssuerKeys) -> None:
        await keys.key("old")
        issuer.away = True
        issuer.now += TRUSTED_FOR - 1
        assert await keys.key("old") is not None
        assert keys.are_good()
        issuer.now += AFTER_FAILURE
        with pytest.raises(UnavailableError):
            await keys.key("old")
        assert not keys.are_good()
        issuer.away = False
        issuer.now += AFTER_FAILURE
        assert await keys.key("old") is not None
        assert keys.are_good()

    run(steps)


def test_asking_whether_tokens_can_be_checked_has_the_keys_fetched_as_soon_as_the_issuer_is_back() -> None:
    async def steps(issuer: Issuer, keys: IssuerKeys) -> None:
        issuer.away = True
        await keys.ask()
        for _ in range(5):
            assert not keys.are_good()
        assert issuer.asked == 1
        issuer.away = False
        issuer.now += AFTER_FAILURE
        assert not keys.are_good()
        await asyncio.sleep(0.01)
        assert keys.are_good()

    run(steps)


def test_an_issuer_that_can_not_be_asked_is_told_with_the_setting_the_reason_and_what_to_check(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def steps(issuer: Issuer, keys: IssuerKeys) -> None:
        issuer.away = True
        await keys.ask()

    run(steps)
    (record,) = caplog.records
    told = record.getMessage()
    assert told.startswith("gateway.tokens.jwks: the key set here can't be read (OSError: away): no token can be")
    assert "Check the URL" in told


def test_an_issuer_that_drips_is_given_up_and_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then keeps each time-out of HTTP from being reached: over real HTTP."""
    monkeypatch.setattr(issuer_keys, "IN_ALL", 0.5)
    body = json.dumps({"keys": [OLD.as_dict(private=False)]}).encode()
    drips = [True, False]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
        with contextlib.suppress(ConnectionError):
            if drips.pop(0):
                for byte in body:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.1)
            writer.write(body)
            await writer.drain()
        writer.close()

    async def steps(issuer: Issuer, _: IssuerKeys) -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, httpx2.AsyncClient() as client:
            keys = IssuerKeys("here", from_url(f"http://127.0.0.1:{port}/", client), lambda: issuer.now)
            async with asyncio.timeout(5):
                with pytest.raises(UnavailableError):
                    await keys.key("old")
                issuer.now += AFTER_FAILURE
                assert await keys.key("old") is not None

    run(steps)


def test_without_any_keys_nothing_can_be_said_until_the_issuer_is_back() -> None:
    async def steps(issuer: Issuer, keys: IssuerKeys) -> None:
        issuer.away = True
        for _ in range(3):
            with pytest.raises(UnavailableError):
                await keys.key("old")
        assert issuer.asked == 1
        issuer.away = False
        issuer.now += AFTER_FAILURE
        assert await keys.key("old") is not None

    run(steps)


def test_an_odd_key_hides_no_other_and_an_odd_answer_stops_no_later_one() -> None:
    async def steps(issuer: Issuer, _: IssuerKeys) -> None:
        good = OLD.as_dict(private=False)
        answers = [b"[[[", b"7", json.dumps({"keys": [{**good, "kid": "odd", "use": ["sig"]}, good]}).encode()]

        async def fetch() -> bytes:
            return answers.pop(0)

        keys = IssuerKeys("here", fetch, lambda: issuer.now)
        for _ in range(2):
            with pytest.raises(UnavailableError):
                await keys.key("old")
            issuer.now += AFTER_FAILURE
        assert await keys.key("old") is not None
        issuer.now += AT_MOST_EVERY + 1
        answers.append(json.dumps({"keys": [good]}).encode())
        assert await keys.key("odd") is None

    run(steps)
