"""Events, and the schemas that they are written with."""

from __future__ import annotations

from collections.abc import Sequence

from redrive.errors.base import RedriveError


class InvalidEventError(RedriveError):
    """A value does not fit its schema.

    Attributes:
        topic: the topic the event was meant for.
        field: path of the offending field, such as ``order.items[2].price``; empty for the value itself.
        reason: what is wrong with it.
    """

    def __init__(self, topic: str, field: str, reason: str) -> None:
        self.topic, self.field, self.reason = topic, field, reason
        at = f"field {field!r}" if field else "the value"
        super().__init__(f"event for {topic}: {at} {reason}")


class InvalidKeyError(InvalidEventError):
    """An event's key is nothing that Kafka could carry, or it is missing and must not be.

    Its field is ``key``, as that of a value's own field of that name is.
    """

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(topic, "key", reason)


class WireFormatError(RedriveError):
    """Bytes that are not a magic byte, a schema id and exactly one Avro body.

    Attributes:
        reason: what is wrong with the bytes.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"not a Confluent-framed Avro event: {reason}")


class UnknownSchemaError(WireFormatError):
    """The registry does not know the schema id of an event, so that nothing can read it.

    Attributes:
        schema_id: the id in the event's frame.
        registry: the registry that was asked.
    """

    def __init__(self, schema_id: int, registry: str) -> None:
        self.schema_id, self.registry = schema_id, registry
        super().__init__(f"schema id {schema_id} is not in the registry {registry}; was it written with another one?")


class IncompatibleSchemaError(WireFormatError):
    """An event's schema can't be resolved to the schema that the reader asks for."""


class SchemaError(RedriveError):
    """A schema is missing, is not valid Avro, or can't be used here.

    Attributes:
        schema: its name: a subject, a file or an id.
        reason: what is wrong, and what to do.
    """

    def __init__(self, schema: str, reason: str) -> None:
        self.schema, self.reason = schema, reason
        super().__init__(f"schema {schema}: {reason}")


class SchemaInUseError(RedriveError):
    """A version of a schema may not be deleted, because something is still written with it.

    Attributes:
        subject: whose version it is.
        version: its number.
        uses: where it is in use, in words.
    """

    def __init__(self, subject: str, version: int, uses: Sequence[str]) -> None:
        self.subject, self.version, self.uses = subject, version, tuple(uses)
        super().__init__(f"{subject} version {version} stays, for it is in use: {'; '.join(uses)}")


class PublishError(RedriveError):
    """An event was not acknowledged: neither Kafka nor the standby store has confirmed it.

    It may still arrive once (a request can be on its way); publishing it again with the same ``event_id``
    lets consumers tell.

    Attributes:
        event_id: the event.
        topic: where it was meant to go.
        reason: what both paths said.
    """

    def __init__(self, event_id: str, topic: str, reason: str) -> None:
        self.event_id, self.topic, self.reason = event_id, topic, reason
        super().__init__(f"event {event_id} for {topic} is not acknowledged: {reason}")


class BackPressureError(RedriveError):
    """The producer holds as many unacknowledged events as it may; nothing was accepted.

    Attributes:
        events: how many it holds.
        bytes: how many bytes of keys and values they are.
        waited: seconds that the call waited for room.
    """

    def __init__(self, events: int, bytes: int, waited: float) -> None:
        self.events, self.bytes, self.waited = events, bytes, waited
        super().__init__(
            f"no room for another event after {waited:.1f} s: {events:,} events ({bytes:,} bytes) wait for Kafka or "
            "the standby store; slow down, or raise max_unacknowledged or max_unacknowledged_bytes"
        )
