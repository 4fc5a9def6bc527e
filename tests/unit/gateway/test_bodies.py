"""Bodies that are begun and not ended: they fill no memory, and one partner's keep out none of another's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from redrive.gateway import bodies
from redrive.gateway.bodies import Bodies
from redrive.gateway.problems import Problem


class Sender:
    """Sends the body of one request, part by part."""

    def __init__(self, to: Bodies, partner: str) -> None:
        self._parts: asyncio.Queue[Message] = asyncio.Queue()
        scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/", "headers": []}
        self.answer = asyncio.create_task(to.read(Request(scope, self._parts.get), partner))

    async def send(self, size: int, *, more: bool = True) -> None:
        self._parts.put_nowait({"type": "http.request", "body": b"x" * size, "more_body": more})
        for _ in range(3):  # until it is taken
            await asyncio.sleep(0)

    async def refusal(self) -> Problem:
        with pytest.raises(Problem) as refused:
            await self.answer
        return refused.value


@pytest.fixture(autouse=True)
def _little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST_ARRIVING", 100)


def test_a_partner_that_begins_many_and_ends_none_gets_429_and_nobody_else_does() -> None:
    async def run() -> None:
        taken = Bodies(50, 600)
        first, second, third, other = (Sender(taken, name) for name in ("acme", "acme", "acme", "umbrella"))
        for sender in (first, second, third):
            await sender.send(40)
        refusal = await third.refusal()
        assert (refusal.status, refusal.kind, refusal.headers) == (429, "crowded", {"Retry-After": "5"})
        await other.send(50, more=False)
        assert len(await other.answer) == 50
        for sender in (first, second):
            await sender.send(10, more=False)
            assert len(await sender.answer) == 50
        again = Sender(taken, "acme")
        await again.send(50, more=False)
        assert len(await again.answer) == 50, "and what was ended, or refused, counts no more"

    asyncio.run(run())


def test_a_body_that_is_larger_than_that_is_taken_when_it_comes_alone() -> None:
    async def run() -> None:
        alone = Sender(Bodies(1_000, 600), "acme")
        for more in (True, True, False):
            await alone.send(300, more=more)
        assert len(await alone.answer) == 900

    asyncio.run(run())


def test_a_body_that_is_larger_than_that_is_taken_beside_another_one_and_not_beside_two() -> None:
    async def run() -> None:
        taken = Bodies(1_000, 600)
        first, second, third = (Sender(taken, "acme") for _ in range(3))
        await first.send(900)
        await second.send(1_000)
        await third.send(200)
        assert (await third.refusal()).status == 429
        await second.send(0, more=False)
        assert len(await second.answer) == 1_000
        await first.send(100, more=False)
        assert len(await first.answer) == 1_000

    asyncio.run(run())


def test_senders_that_are_too_slow_or_send_too_much_count_no_more_afterwards() -> None:
    async def run() -> None:
        taken = Bodies(90, 0.01)
        slow = Sender(taken, "acme")
        await slow.send(80)
        assert (await slow.refusal()).status == 408
        taken._seconds = 600  # the next ones are in time, however busy this machine is
        large = Sender(taken, "acme")
        await large.send(91)
        assert (await large.refusal()).status == 413
        good = Sender(taken, "acme")
        await good.send(90, more=False)
        assert len(await good.answer) == 90

    asyncio.run(run())
