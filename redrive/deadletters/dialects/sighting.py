"""A record of a dead-letter topic, and what can be known of the letter that it is."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from redrive.events import Headers

Dialect = Literal["own", "connect", "spring", "confluent", "uforwarder", "unknown"]
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)
"""Who writes dead letters in a way that is understood here; see the module of each name."""

UNKNOWN = "unknown"
"""The reason of a letter that does not say why it is one."""


class Record(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A record as it was read from a dead-letter topic.

    Attributes:
        cluster: the name of the cluster.
        timestamp: Kafka's, in milliseconds since 1970; 0 if the record has none.
    """

    cluster: str
    topic: str
    partition: int
    offset: int
    timestamp: int
    headers: Headers | None
    key: bytes | None
    value: bytes | None


class Sighting(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A dead letter as triage sees it. Nothing in it quotes the value, nor text that may quote it.

    Text is cut to a bounded length and has no control characters.

    Attributes:
        cluster: where the letter stands; likewise ``topic``, ``partition`` and ``offset``.
        timestamp: the letter's own in milliseconds since 1970, which decides how long it is kept; 0 if it has none.
        dialect: who wrote it.
        event_id: the event's ``ce_id``; None if it has none.
        reason: a short code: one of `redrive.deadletters.letter.REASONS`, or made from the name of an exception.
        cause: the class of the exception, or the name of the rule, that made it a letter; empty if not said.
        field: path of the field that is wrong; empty if not said. Keys of maps are left out.
        producer: the producer, consumer group or connector that wrote it; empty if not said.
        main_topic: the topic that the event was meant for, or was read from; empty if not said.
        main_partition: where the event was read from; None if it was not, or it is not said. Likewise ``main_offset``.
        main_timestamp: the event's, in milliseconds since 1970.
        schema_id: of the value.
        attempts: how many times the event has become a dead letter, as far as is known.
        key: the event's key.
        size: bytes of the letter's value; None is a tombstone, or a value that was left out.
        correctable: whether all of the value is there, so that it can be put right: False if parts of it were lost,
            left out or blackened.
    """

    cluster: str
    topic: str
    partition: int
    offset: int
    timestamp: int
    dialect: Dialect
    event_id: str | None
    reason: str
    cause: str
    field: str
    producer: str
    main_topic: str
    main_partition: int | None
    main_offset: int | None
    main_timestamp: int | None
    schema_id: int | None
    attempts: int
    key: bytes | None
    size: int | None
    correctable: bool


class Account(msgspec.Struct, gc=False, kw_only=True):
    """What one dialect tells; the attributes are those of `Sighting`. All text has gone through `.reading`.

    Attributes:
        key: only where the dialect keeps the event's key elsewhere than in the record's.
    """

    reason: str
    cause: str = ""
    field: str = ""
    producer: str = ""
    main_topic: str = ""
    main_partition: int | None = None
    main_offset: int | None = None
    main_timestamp: int | None = None
    schema_id: int | None = None
    attempts: int | None = None
    key: bytes | msgspec.UnsetType | None = msgspec.UNSET
    correctable: bool = True
