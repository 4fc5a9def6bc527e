"""The schema registry: schemas fetched when a producer or consumer starts, and once for each id that is new.

Any registry that speaks Confluent's API will do. When it is down, all that is known goes on working.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx2  # what confluent-kafka speaks to the registry through
from confluent_kafka.schema_registry import RegisteredSchema, Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from redrive.avro.schema import AvroSchema, parse
from redrive.coding import Reader, Writer
from redrive.errors import (
    RedriveError,
    SchemaError,
    UnavailableError,
    UnknownSchemaError,
)

UNKNOWN_FOR = 30.0
"""Seconds for which an id that the registry does not know is not asked for again."""

DOWN_FOR = 1.0
"""Seconds for which nothing new is asked of a registry that did not answer."""

_MOST_REFUSALS = 10_000
_NOT_FOUND = {40401, 40402, 40403}  # subject, version, schema; a bare 404 may come from anything at a wrong URL
_DEFAULTS = {"timeout": 5, "max.retries": 2, "retries.wait.ms": 200, "retries.max.wait.ms": 1000}
_DEFAULTS["cache.latest.ttl.sec"] = 1  # else the client keeps the latest version that it has seen first


class Judged(NamedTuple):
    """What the registry says of a schema that is to be a subject's next version.

    Attributes:
        fits: whether the subject's rule lets it. For a subject without one, Apicurio answers by ``BACKWARD``.
        rule: the rule, such as ``BACKWARD`` or ``NONE``.
    """

    fits: bool
    rule: str

    @property
    def transitive(self) -> bool:
        """Whether the rule is about all versions, and not about the latest alone."""
        return self.rule.endswith("_TRANSITIVE")


class Registered(NamedTuple):
    """A schema as a version of a subject."""

    version: int
    schema_id: int


class SchemaRegistry:
    """Schemas by topic and by id. Safe for threads.

    Args:
        client_config: as confluent-kafka's `SchemaRegistryClient` takes it: ``url``, credentials, TLS, ``timeout`` in
            seconds for one request (5), ``max.retries`` (2).
    """

    def __init__(self, client_config: Mapping[str, Any]) -> None:
        self.url = re.sub("//[^/@]*@", "//", str(client_config["url"]))
        self._client = SchemaRegistryClient(_DEFAULTS | dict(client_config))
        self._schemas: dict[int, AvroSchema] = {}
        self._refusals: dict[int, tuple[float, RedriveError]] = {}
        self._down: tuple[float, UnavailableError] | None = None
        self._fetching = threading.Lock()

    def writer(self, topic: str, schema: str | None = None, *, register: bool = False) -> Writer:
        """Prepare writing to a topic, whose subject is ``<topic>-value``.

        Args:
            topic: the topic.
            schema: write with this one (JSON); None: with the subject's latest version.
            register: make ``schema`` a version of the subject if it is none yet.

        Raises:
            SchemaError: the subject does not exist, does not have or does not take ``schema``, or it can't be used.
            UnavailableError: the registry does not answer.
        """
        subject = f"{topic}-value"
        with self._errors(subject):
            found = self._find(subject, schema, register)
        return Writer(topic, found.schema_id or 0, found.version or 0, self._parse(found.schema, subject))

    def reader(self, topic: str | None = None, schema: str | None = None) -> Reader:
        """Prepare reading.

        Args:
            topic: resolve all events to the latest version of this topic's subject.
            schema: resolve them to this schema (JSON), which need not be registered.

        Without either, values have the fields that they were written with.

        Raises:
            SchemaError: the subject does not exist, or the schema can't be used.
            UnavailableError: the registry does not answer.
        """
        if schema is not None:
            return Reader(self, parse(schema, name="the reader's schema"))
        return Reader(self, self.writer(topic).schema if topic is not None else None)

    def schema(self, schema_id: int) -> AvroSchema:
        """Return a schema by id, asking the registry once.

        Raises:
            UnknownSchemaError: the registry does not know the id (asked at most every `UNKNOWN_FOR` seconds).
            SchemaError: it is not Avro.
            UnavailableError: the registry does not answer (asked at most every `DOWN_FOR` seconds).
        """
        schema = self._schemas.get(schema_id)
        if schema is not None:
            return schema
        with self._fetching:
            self._raise_known(schema_id)
            if schema_id not in self._schemas:
                try:
                    self._schemas[schema_id] = self._fetch(schema_id)
                except UnavailableError as error:
                    self._down = (time.monotonic() + DOWN_FOR, error)
                    raise
                except RedriveError as error:
                    if len(self._refusals) >= _MOST_REFUSALS:
                        self._refusals.clear()
                    self._refusals[schema_id] = (time.monotonic() + UNKNOWN_FOR, error)
                    raise
            return self._schemas[schema_id]

    def versions(self, topic: str) -> dict[int, int]:
        """Return the schema id of each version of a topic's subject.

        Raises:
            SchemaError: the subject does not exist.
            UnavailableError: the registry does not answer.
        """
        return self.ids(f"{topic}-value")

    def judge(self, topic: str, schema: str) -> Judged:
        """Ask whether the subject's rule lets a schema (JSON) be its next version; registers nothing.

        Raises:
            SchemaError: the subject does not exist, or the registry can't read the schema.
            UnavailableError: the registry does not answer.
        """
        subject = f"{topic}-value"
        with self._errors(subject):
            return judged(self._client, subject, Schema(schema, "AVRO"))

    def find(self, topic: str, schema: str) -> Registered | None:
        """Tell which version of a topic's subject a schema (JSON) is; None if it is none, or there is no subject.

        Raises:
            SchemaError: the registry can't read the schema.
            UnavailableError: the registry does not answer.
        """
        subject = f"{topic}-value"
        with self._errors(subject):
            try:
                found = self._client.lookup_schema(subject, Schema(schema, "AVRO"))
            except SchemaRegistryError as error:
                if error.error_code not in _NOT_FOUND:
                    raise
                return None
        return Registered(found.version or 0, found.schema_id or 0)

    def ids(self, subject: str) -> dict[int, int]:
        """Return the schema id of each version of a subject, whatever it is of.

        Raises:
            SchemaError: the subject does not exist.
            UnavailableError: the registry does not answer.
        """
        with self._errors(subject):
            versions = self._client.get_versions(subject)
            return {version: self._client.get_version(subject, version).schema_id or 0 for version in versions}

    def subjects_with(self, schema_id: int) -> list[tuple[str, int]]:
        """Return the subjects and versions that have a schema.

        Raises:
            SchemaError: the registry does not know the id.
            UnavailableError: the registry does not answer.
        """
        with self._errors(f"id {schema_id}"):
            return [(one.subject or "", one.version or 0) for one in self._client.get_schema_versions(schema_id)]

    def delete(self, subject: str, version: int) -> None:
        """Delete a version of a subject, for good; nothing is asked whether somebody needs it.

        Raises:
            SchemaError: it does not exist, or another schema refers to it.
            UnavailableError: the registry does not answer.
        """
        with self._errors(f"{subject} version {version}"):
            # The first hides it, the second deletes it; Confluent's registry wants them in this order.
            self._client.delete_version(subject, version)
            self._client.delete_version(subject, version, permanent=True)

    def close(self) -> None:
        """Close the connections; schemas that are known stay usable."""
        self._client.close()

    def _find(self, subject: str, schema: str | None, register: bool) -> RegisteredSchema:
        if schema is None:
            return self._client.get_latest_version(subject)
        if register:
            self._client.register_schema(subject, Schema(schema, "AVRO"))
        return self._client.lookup_schema(subject, Schema(schema, "AVRO"))

    def _fetch(self, schema_id: int) -> AvroSchema:
        name = f"id {schema_id}"
        try:
            with self._errors(name):
                found = self._client.get_schema(schema_id)
        except SchemaError as error:
            raise UnknownSchemaError(schema_id, self.url) from error
        return self._parse(found, name)

    def _parse(self, schema: Schema, name: str) -> AvroSchema:
        if (schema.schema_type or "AVRO") != "AVRO":
            raise SchemaError(name, f"is of type {schema.schema_type}; only Avro can be read and written")
        references: dict[tuple[str | None, int | None], str] = {}
        with self._errors(name):
            self._collect_references(schema, references)
        return parse(schema.schema_str or "", name=name, references=list(references.values()))

    def _collect_references(self, schema: Schema, found: dict[tuple[str | None, int | None], str]) -> None:
        """Add the schemas that one refers to, each after those that it needs itself."""
        for reference in schema.references or ():
            place = (reference.subject, reference.version)
            if place not in found:
                version = self._client.get_version(reference.subject or "", reference.version or -1)
                self._collect_references(version.schema, found)
                found[place] = version.schema.schema_str or ""

    def _raise_known(self, schema_id: int) -> None:
        now = time.monotonic()
        until, error = self._refusals.get(schema_id, (0.0, None))
        if error is not None and now < until:
            raise error.with_traceback(None)  # or each raise would add to the traceback it has
        if self._down is not None and now < self._down[0]:
            raise self._down[1].with_traceback(None)

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        """Say of each answer whether it is about the schema or about the registry."""
        registry = f"registry {self.url}"
        try:
            yield
        except SchemaRegistryError as error:
            status, code, message = error.http_status_code, error.error_code, error.error_message
            if code in _NOT_FOUND:
                way_out = "register it, for example by `redrive topics apply`"
                raise SchemaError(name, f"is not in the {registry} ({message}); {way_out}") from error
            if status in (409, 422):
                raise SchemaError(name, f"is refused by the {registry}: {message}") from error
            reason = f"HTTP {status}: {message}"
            if status in (401, 403, 404):
                reason += "; check the registry's url and credentials in the settings"
            raise UnavailableError(registry, reason) from error
        except (httpx2.HTTPError, OSError, ValueError) as error:
            raise UnavailableError(registry, f"{type(error).__name__}: {error}") from error


def judged(client: SchemaRegistryClient, subject: str, schema: Schema) -> Judged:
    """Ask whether a subject's rule lets a schema be its next version; by all versions if the rule is transitive.

    Raises:
        SchemaRegistryError: the subject does not exist, or the registry can't read the schema.
    """
    try:
        rule = client.get_compatibility(subject)
    except SchemaRegistryError as error:
        if error.http_status_code != 404:
            raise
        rule = client.get_compatibility()  # the subject has none of its own
    # Asked about the latest version, a registry forgets the others, and refuses what it has said would fit.
    ask = client.test_compatibility_all_versions if rule.endswith("_TRANSITIVE") else client.test_compatibility
    return Judged(bool(ask(subject, schema)), rule)
