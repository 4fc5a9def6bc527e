"""The issuer's keys: asked for when needed, not more often, and kept when the issuer is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from joserfc.jwk import ECKey

from redrive.errors import UnavailableError
from redrive.gateway.issuer_keys import AT_MOST_EVERY, RENEW_AFTER, IssuerKeys

OLD, NEW = (ECKey.generate_key("P-256", {"kid": kid}) for kid in ("old", "new"))


class Issuer:
    """Answers with its keys, and counts."""

    def __init__(self) -> None:
        self.keys, self.asked, self.away, self.now = [OLD], 0, False, 1000.0

    async def fetch(self) -> bytes:
        self.asked += 1
        await asyncio.sleep(0)
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
        for number in range(100):
            assert await keys.key(f"invented-{number}") is None
        assert issuer.asked == 2

    run(steps)


def test_while_the_issuer_is_away_known_keys_stay_good() -> None:
    async def steps(issuer: Issuer, keys: IssuerKeys) -> None:
        await keys.key("old")
        issuer.away = True
        issuer.now += RENEW_AFTER + 1
        for _ in range(5):
            assert await keys.key("old") is not None
            await asyncio.sleep(0.01)
        assert await keys.key("new") is None
        assert issuer.asked == 2

    run(steps)


def test_a_key_that_the_issuer_has_taken_back_is_refused_after_the_next_renewal() -> None:
    async def steps(issuer: Issuer, keys: IssuerKeys) -> None:
        await keys.key("old")
        issuer.keys = [NEW]
        issuer.now += RENEW_AFTER + 1
        await keys.key("old")
        await asyncio.sleep(0.01)
        assert await keys.key("old") is None

    run(steps)


def test_without_any_keys_nothing_can_be_said_until_the_issuer_is_back() -> None:
    async def steps(issuer: Issuer, keys: IssuerKeys) -> None:
        issuer.away = True
        for _ in range(3):
            with pytest.raises(UnavailableError):
                await keys.key("old")
        assert issuer.asked == 1
        issuer.away = False
        issuer.now += AT_MOST_EVERY
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
            issuer.now += AT_MOST_EVERY + 1
        assert await keys.key("old") is not None
        assert await keys.key("odd") is None

    run(steps)
