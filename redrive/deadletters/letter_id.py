"""Where a letter stands: its id, for people and for the command line, and its place in the order of all letters.

A dead-letter topic that was deleted and made again has letters where others have been. So, once somebody has accepted
it, its letters stand in ``dlq.flights@2`` by the ledger, which is ``dlq.flights`` in Kafka: no topic's name has an @.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from redrive.errors import LetterIdError

_FORM = re.compile(
    r"(?:(?P<cluster>[a-z0-9][a-z0-9_-]*):)?"
    r"(?P<topic>[a-zA-Z0-9._-]{1,249}(?:@[1-9][0-9]{0,5})?)/(\d{1,10})/(\d{1,19})"
)


def kafka_topic(topic: str) -> str:
    """Give the name in Kafka of a dead-letter topic that the ledger names."""
    return topic.partition("@")[0]


def generation(topic: str) -> int:
    """Say the how manieth topic of its name it is, as far as anybody has noticed; from 1 on."""
    return int(topic.partition("@")[2] or 1)


def next_topic(topic: str) -> str:
    """Give the ledger's name of the topic that was made anew in the place of one."""
    return f"{kafka_topic(topic)}@{generation(topic) + 1}"


class LetterId(NamedTuple):
    """The place of a letter: ``dlq.flights/2/4711``, or ``east:dlq.flights/2/4711`` where the cluster must be said.

    Attributes:
        cluster: the cluster's name; None in what a person has typed without it: whichever cluster has the letter.
        topic: the dead-letter topic, as the ledger names it; see `kafka_topic`.
    """

    cluster: str | None
    topic: str
    partition: int
    offset: int

    @classmethod
    def parse(cls, text: str) -> LetterId:
        """Read an id.

        Raises:
            LetterIdError: it is none.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise LetterIdError(text, "is not of the form topic/partition/offset")
        partition, offset = int(found[3]), int(found[4])
        if partition >= 2**31 or offset >= 2**63:
            raise LetterIdError(text, "has a number that Kafka does not have")
        return cls(found["cluster"], found["topic"], partition, offset)

    def __str__(self) -> str:
        return f"{f'{self.cluster}:' if self.cluster else ''}{self.short}"

    @property
    def short(self) -> str:
        """The id without its cluster."""
        return f"{self.topic}/{self.partition}/{self.offset}"


class Place(NamedTuple):
    """Where a letter stands in the order in which letters are listed, planned and put right.

    Attributes:
        timestamp: the letter's own, in milliseconds since 1970; no part of the order.
    """

    cluster: str
    main_topic: str
    topic: str
    partition: int
    offset: int
    timestamp: int

    @property
    def id(self) -> LetterId:
        """The letter's id."""
        return LetterId(self.cluster, self.topic, self.partition, self.offset)
