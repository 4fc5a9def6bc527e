"""What becomes of a request's events: recognised, published, and waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from redrive.config.gateway import GatewayConfig
from redrive.gateway.cloud_events import PartnerEvent
from redrive.gateway.handing_over import Outcome
from redrive.gateway.metrics import REFUSED, REPEATED
from redrive.gateway.problems import Problem, unacknowledged
from redrive.gateway.publishing import Publisher
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
            published = self._publisher.publish(self._topics[event_type], [event for event, _ in new])
            # It is noted what becomes of the events, also when nobody waits for the answer any more.
            published.add_done_callback(partial(self._settle, recent, new))
        if pending := [each for each in waits if isinstance(each, asyncio.Future) and not each.done()]:
            await asyncio.wait(pending, timeout=self._patience)
        outcomes = [_outcome(wait) for wait in waits]
        for each in outcomes:
            if each is not None:
                REFUSED.labels(each.kind).inc()
        return outcomes

    def _settle(
        self,
        recent: RecentEvents,
        new: Sequence[tuple[PartnerEvent, asyncio.Future[Outcome]]],
        published: asyncio.Future[list[Outcome]],
    ) -> None:
        outcomes: Sequence[Outcome] = [unacknowledged()] * len(new) if published.cancelled() else published.result()
        for (event, future), outcome in zip(new, outcomes, strict=True):
            recent.settle(event.event_id, future, outcome)


def _outcome(of: asyncio.Future[Outcome] | Problem) -> Outcome:
    if isinstance(of, Problem):
        return of
    return of.result() if of.done() else unacknowledged()
