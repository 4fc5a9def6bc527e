"""A message in hand, decoded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from redrive.coding import Reader
from redrive.consuming.taken import Taken
from redrive.errors import IncompatibleSchemaError, UnknownSchemaError, WireFormatError
from redrive.events import are_unreadable
from redrive.received import ReceivedEvent, received
from redrive.schemas import SchemaRegistry


class Unreadable(NamedTuple):
    """Why a message can't be decoded, ever.

    Attributes:
        reason: as its dead letter has it.
        detail: for people.
    """

    reason: str
    detail: str


class Opener:
    """Decodes messages; has schemas fetched as they come.

    Args:
        registry: where schemas are.
        schemas: topic → schema (JSON) that its events are resolved to, or ``latest``.

    Raises:
        SchemaError: one of them does not exist or can't be used.
        UnavailableError: the registry can't be reached to fetch them.
    """

    def __init__(self, registry: SchemaRegistry, schemas: Mapping[str, str]) -> None:
        self._readers: dict[str, Reader] = {
            topic: registry.reader(topic) if schema == "latest" else registry.reader(schema=schema)
            for topic, schema in schemas.items()
        }
        self._any_reader = registry.reader()

    def open(self, taken: Taken) -> ReceivedEvent | Unreadable:
        """Decode a message.

        Raises:
            UnavailableError: its schema can't be fetched now.
        """
        data = taken.message.value()
        try:
            value = None if data is None else self._readers.get(taken.place[0], self._any_reader).decode(data)
        except WireFormatError as error:
            return Unreadable(_reason(error), error.reason)
        event = received(taken, value)
        if are_unreadable(event.headers):
            return Unreadable("unreadable-headers", "one of its headers has a name that is not UTF-8")
        return event


def _reason(error: WireFormatError) -> str:
    match error:
        case UnknownSchemaError():
            return "unknown-schema"
        case IncompatibleSchemaError():
            return "incompatible-schema"
        case _:
            return "bad-frame"
