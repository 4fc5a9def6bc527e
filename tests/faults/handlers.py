"""A consumer at work beside what a test does to its brokers."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

from redrive.config import Config
from redrive.consumer import EventConsumer
from redrive.received import ReceivedEvent


class Handler(ABC):
    """One that runs in a thread of its own until it is closed.

    Args:
        config: the platform.
        group: its group.
        topics: what it reads.
    """

    def __init__(self, config: Config, group: str, topics: list[str]) -> None:
        self._consumer = EventConsumer(group, config, topics)
        self._thread = threading.Thread(target=self._consumer.run, args=(self._handle,), daemon=True)
        self._thread.start()

    @abstractmethod
    def _handle(self, event: ReceivedEvent) -> None: ...

    def close(self) -> None:
        self._consumer.stop()
        self._thread.join(60)
        assert not self._thread.is_alive()
        self._consumer.close()
