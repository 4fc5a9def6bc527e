"""A message in hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import Message

if TYPE_CHECKING:
    from redrive.consuming.intake import Intake

Place = tuple[str, int]
"""A topic and a partition."""


@dataclass(slots=True)
class Taken:
    """A message in hand.

    Attributes:
        intake: where it comes from.
        message: the message.
        place: its topic and partition.
        offset: its offset.
        losses: how often its partition had been taken away when it was fetched.
    """

    intake: Intake
    message: Message
    place: Place
    offset: int
    losses: int


def place_of(message: Message) -> Place:
    """Return the topic and the partition of a message."""
    return message.topic() or "", message.partition() or 0
