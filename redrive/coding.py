"""Values of a topic to framed Avro bytes, and back. Where schemas come from is `redrive.schemas`."""

from __future__ import annotations

from typing import Any, Protocol

from redrive.avro.codec import Decoder, Encoder
from redrive.avro.misfit import Misfit
from redrive.avro.schema import AvroSchema
from redrive.errors import IncompatibleSchemaError, InvalidEventError, SchemaError
from redrive.wire import HEADER_SIZE, prefix, schema_id_of


class Schemas(Protocol):
    """What has schemas by their ids: a `redrive.schemas.SchemaRegistry`."""

    def schema(self, schema_id: int) -> AvroSchema:
        """Return a schema; see `redrive.schemas.SchemaRegistry.schema`."""
        ...


class Writer:
    """Turns values of one topic into framed Avro bytes. Safe for threads.

    Attributes:
        topic: the topic, named in errors.
        schema_id: the schema's id in the registry.
        version: its version in the topic's subject.
        schema: the schema.
    """

    def __init__(self, topic: str, schema_id: int, version: int, schema: AvroSchema) -> None:
        self.topic, self.schema_id, self.version, self.schema = topic, schema_id, version, schema
        self._prefix = prefix(schema_id)
        self._encode = Encoder(schema).encode

    def encode(self, value: Any) -> bytes:
        """Check ``value`` strictly, encode and frame it.

        Raises:
            InvalidEventError: it does not fit the schema; says which field and why.
        """
        try:
            return self._encode(value, self._prefix)
        except Misfit as misfit:
            raise InvalidEventError(self.topic, misfit.field, misfit.reason) from None


class Reader:
    """Turns framed bytes, whichever schema they were written with, into values. Safe for threads.

    Attributes:
        schema: the schema whose fields the values have; None: that of each event's writer.
    """

    def __init__(self, registry: Schemas, schema: AvroSchema | None) -> None:
        self.schema = schema
        self._registry = registry
        self._decoders: dict[int, Decoder] = {}

    def to(self, schema: AvroSchema) -> Reader:
        """Return a reader of the same registry whose values have this schema's fields."""
        return Reader(self._registry, schema)

    def decode(self, data: bytes) -> Any:
        """Decode one event.

        Raises:
            WireFormatError: wrong frame, unknown id (`UnknownSchemaError`), a schema that can't be resolved
                (`IncompatibleSchemaError`), or a body that is not exactly one value. Trying again won't help.
            UnavailableError: the id is new and the registry does not answer. Trying again later will.
        """
        schema_id = schema_id_of(data)
        decoder = self._decoders.get(schema_id)
        if decoder is None:
            decoder = self._decoder(schema_id)
        return decoder.decode(data, HEADER_SIZE)

    def _decoder(self, schema_id: int) -> Decoder:
        try:
            decoder = Decoder(self._registry.schema(schema_id), self.schema)
        except SchemaError as error:
            raise IncompatibleSchemaError(str(error)) from error
        return self._decoders.setdefault(schema_id, decoder)
