"""The subjects of the schema registry: which schema the values of each topic must have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2  # what confluent-kafka speaks to the registry through
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from redrive.avro.schema import parse
from redrive.config import Config, Topic
from redrive.errors import SchemaError, UnavailableError
from redrive.schemas import judged


class Subjects:
    """Looks schemas up and registers them, under ``<topic>-value`` as Confluent's clients expect it.

    Raises:
        SchemaError: from each call: the file is not an Avro schema, or the registry does not take it.
        UnavailableError: from each call: the registry does not answer.
    """

    def __init__(self, config: Config) -> None:
        self._named = f"registry {config.registry.url}"
        self._client = SchemaRegistryClient(config.registry_client_config() | {"max.retries": 1, "timeout": 15})

    def has(self, topic: Topic) -> bool:
        """Say whether the topic's schema is among the versions of its subject."""
        try:
            with self._translated(topic):
                self._client.lookup_schema(subject_of(topic), schema_of(topic))
        except SchemaRegistryError as error:
            if error.http_status_code == 404:
                return False
            raise SchemaError(subject_of(topic), error.error_message) from error
        return True

    def fits(self, topic: Topic) -> bool:
        """Say whether the subject's compatibility rule lets the topic's schema be its next version."""
        try:
            with self._translated(topic):
                return judged(self._client, subject_of(topic), schema_of(topic)).fits
        except SchemaRegistryError as error:
            if error.http_status_code == 404:  # there is no version to follow
                return True
            raise SchemaError(subject_of(topic), error.error_message) from error

    def register(self, topic: Topic) -> int:
        """Make the topic's schema the latest version of its subject; give its id."""
        try:
            with self._translated(topic):
                return int(self._client.register_schema(subject_of(topic), schema_of(topic)))
        except SchemaRegistryError as error:
            raise SchemaError(subject_of(topic), error.error_message) from error

    @contextmanager
    def _translated(self, topic: Topic) -> Iterator[None]:
        try:
            yield
        except httpx2.TransportError as error:
            raise UnavailableError(self._named, f"asking for {subject_of(topic)}: {error!r}") from error
        except SchemaRegistryError as error:
            if error.http_status_code >= 500:
                raise UnavailableError(self._named, f"{error.http_status_code} {error.error_message}") from error
            raise


def subject_of(topic: Topic) -> str:
    """Give the name of the subject that a topic's values are registered under."""
    return f"{topic.name}-value"


def schema_of(topic: Topic) -> Schema:
    """Read a topic's schema from its file.

    Raises:
        SchemaError: the topic has none, or it is not an Avro schema.
    """
    text = read_schema(topic.schema, topic.name)
    parse(text, name=str(topic.schema))
    return Schema(text, "AVRO")


def read_schema(file: Path | None, topic: str) -> str:
    """Read the text of a schema.

    Args:
        file: where it is; None: the topic has none in the settings.
        topic: what it is for.

    Raises:
        SchemaError: there is none, or it can't be read.
    """
    if file is None:
        raise SchemaError(topic, f"the topic has none; give topics.{topic}.schema in the settings")
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaError(str(file), f"can't be read: {error}") from error
