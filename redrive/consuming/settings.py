"""How a consumer behaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    """Limits of a consumer.

    Attributes:
        retries: how often a handler that failed is called again with the same event before that is dead-lettered.
        pause: seconds before the first repetition; each further one waits about twice as long.
        longest_pause: seconds that a repetition waits at most.
        window: how many handled event ids are remembered to drop duplicates; 0 hands over every event.
        max_poll_interval: seconds that one batch may take, and one event of `run` half of them; after that the group
            may go on without this consumer.
        client: further settings of librdkafka, which go over all others. With successors, not
            ``partition.assignment.strategy`` nor ``enable.partition.eof``.
    """

    retries: int = 5
    pause: float = 0.2
    longest_pause: float = 30.0
    window: int = 100_000
    max_poll_interval: float = 300.0
    client: Mapping[str, Any] = field(default_factory=dict)
