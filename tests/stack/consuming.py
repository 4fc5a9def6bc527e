"""Consumers as tests run them, and what they have handled and dead-lettered."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from redrive import envelope
from redrive.consumer import ConsumerSettings, EventConsumer
from redrive.deadletters.letter import Letter, read_letter
from redrive.events import Headers
from redrive.received import ReceivedEvent
from tests.stack.platform import Platform, wait_until

QUICK = ConsumerSettings(retries=2, pause=0.05, longest_pause=0.4)


class Handled:
    """A handler that keeps what it gets, and fails where it is told to."""

    def __init__(self, fail: Callable[[ReceivedEvent], None] = lambda event: None) -> None:
        self.events: list[ReceivedEvent] = []
        self._fail = fail

    def __call__(self, event: ReceivedEvent) -> None:
        self._fail(event)
        self.events.append(event)

    @property
    def ids(self) -> list[int]:
        return [event.value["id"] for event in self.events]


def consume(
    platform: Platform,
    handler: Callable[[ReceivedEvent], None],
    *topics: str,
    until: Callable[[], bool] | None = None,
    settings: ConsumerSettings = QUICK,
    **more: Any,
) -> dict[str, int]:
    """Run a consumer until ``until``, or until nothing has come for a while."""
    with EventConsumer(
        platform.group, platform.config, topics or [platform.orders], settings=settings, **more
    ) as consumer:
        if until is None:
            consumer.run(handler, idle=4)
        else:
            stopper = threading.Thread(target=lambda: (wait_until(until, 60), consumer.stop()))
            stopper.start()
            consumer.run(handler)
            stopper.join()
        return dict(consumer.counts)


def letters(platform: Platform) -> list[Letter]:
    found = platform.read(platform.dead_letters)
    return [read_letter(list(m.headers() or []), m.key(), m.value()) for m in found]  # type: ignore[arg-type]


def of(event_id: str, source: str = "shop") -> Headers:
    return envelope.headers(event_id, source=source, type="orders", time_ms=0)
