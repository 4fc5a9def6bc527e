"""What becomes of a request's events: recognised, published, and waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from redrive.config.gateway import GatewayConfig
from redrive.gateway.cloud_events import PartnerEvent
from redrive.gateway.metrics import REFUSED, REPEATED
from redrive.gateway.problems import Problem, unacknowledged
from redrive.gateway.publishing import Outcome, Publisher
from redrive.gateway.recent import RecentEvents


class Reception:
    """Takes partners' events. For one event loop.

    Args:
        settings: the gateway's.
        publisher: where they go.
    """

    def __init__(self, settings: GatewayConfig, publisher: Publisher) -> None:
        self._topics: Mapping[str, str] = settings.types
        self._patience = settings.answer_within
        self._publisher = publisher
        self._recent = {
            partner: RecentEvents(settings.remember_events, settings.remember_seconds) for partner in settings.partners
        }
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, partner: str, event_type: str, events: Sequence[PartnerEvent | Problem]) -> list[Outcome]:
        """Publish what is new of a request's events, in their order.

        Args:
            partner: who sends them.
            event_type: one that it may publish.
            events: those that can be published, and what is wrong with the others.

        Returns:
            For each event what is wrong with it, or None once it is safe.
        """
        recent = self._recent[partner]
        waits: list[asyncio.Future[Outcome] | Problem] = []
        new: list[tuple[PartnerEvent, asyncio.Future[Outcome]]] = []
        for event in events:
            if isinstance(event, Problem):
                waits.append(event)
                continue
            try:
                outcome, is_new = recent.claim(event.event_id, event.fingerprint)
            except Problem as problem:
                waits.append(problem)
                continue
            waits.append(outcome)
            if is_new:
                new.append((event, outcome))
            else:
                REPEATED.inc()
        if new:
            # A task of its own: it notes what becomes of the events, also when nobody waits for the answer any more.
            task = asyncio.get_running_loop().create_task(self._publish(recent, self._topics[event_type], new))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if pending := [each for each in waits if isinstance(each, asyncio.Future) and not each.done()]:
            await asyncio.wait(pending, timeout=self._patience)
        outcomes = [_outcome(wait) for wait in waits]
        for each in outcomes:
            if each is not None:
                REFUSED.labels(each.kind).inc()
        return outcomes

    async def finish(self) -> None:
        """Wait for what is under way."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._patience)

    async def _publish(
        self, recent: RecentEvents, topic: str, new: Sequence[tuple[PartnerEvent, asyncio.Future[Outcome]]]
    ) -> None:
        outcomes: Sequence[Outcome] = [unacknowledged()] * len(new)
        try:
            outcomes = await self._publisher.publish(topic, [event for event, _ in new])
        finally:
            for (event, future), outcome in zip(new, outcomes, strict=True):
                recent.settle(event.event_id, future, outcome)


def _outcome(of: asyncio.Future[Outcome] | Problem) -> Outcome:
    if isinstance(of, Problem):
        return of
    return of.result() if of.done() else unacknowledged()
