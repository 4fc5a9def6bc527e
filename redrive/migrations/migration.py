"""A migration, made ready: where events go, by which schema and rules, and what tells it from any other."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from redrive.avro.schema import AvroSchema, parse
from redrive.config import Config
from redrive.errors import ConfigError, SchemaError, WireFormatError
from redrive.migrations.compatibility import Finding, compare
from redrive.migrations.migrator import Direction, Recipe
from redrive.rules import RuleSet, digest_of, parse_migration, read_migration
from redrive.schemas import SchemaRegistry

UNREGISTERED = 0
"""Stands for the id of a schema that is not in the registry yet."""


@dataclass(frozen=True)
class Migration:
    """What is done to each event on its way.

    Attributes:
        source: the topic that is read.
        target: the topic that is written.
        recipe: see there.
        registry: where schemas are asked for whose ids turn up on the way; properties of its client.
        digest: SHA-256, in hexadecimal, of all that decides what becomes of events: the target's schema, the rules, the
            direction, both topics.
        up: digest of the rules that take events up, whichever direction this is; empty if there are none.
    """

    source: str
    target: str
    recipe: Recipe
    registry: Mapping[str, Any]
    digest: str
    up: str = ""

    @property
    def is_registered(self) -> bool:
        """Whether the target's schema is in the registry."""
        return self.recipe.target != UNREGISTERED

    @property
    def has_way_back(self) -> bool:
        """Whether its rules say how events become what they were; without rules, that is for Avro."""
        rules = self.recipe.rules
        return not rules or parse_migration(rules, self.recipe.file).down is not None

    def differences(self, schema_ids: Iterable[int]) -> dict[int, list[Finding]]:
        """Say where events of other schemas can't become the target's by themselves; unknown ids are left out.

        Raises:
            UnavailableError: the registry does not answer.
        """
        found = {}
        registry = SchemaRegistry(self.registry)
        for schema_id in schema_ids:
            with suppress(WireFormatError, SchemaError):
                found[schema_id] = compare(registry.schema(schema_id), self.schema)
        registry.close()
        return {schema_id: findings for schema_id, findings in found.items() if findings}

    @property
    def schema(self) -> AvroSchema:
        """The target's schema."""
        return self.recipe.schemas[self.recipe.target]

    @cached_property
    def spec(self) -> bytes:
        """All that a process needs to do it."""
        return pickle.dumps((self.recipe, dict(self.registry)))


def prepare(
    config: Config, source: str, target: str, *, rules: Path | None, direction: Direction = "up", register: bool = False
) -> Migration:
    """Make a migration ready.

    Args:
        config: the platform; it has the target's schema.
        source: the topic that is read.
        target: the topic that is written.
        rules: the file of rules; None: Avro's resolution alone.
        direction: which of its rules.
        register: enter the target's schema in the registry, if it is not there.

    Raises:
        ConfigError: the target has no schema, or the rules are those of another topic, or have no `down` to go by.
        RulesError: the file of rules has mistakes.
        SchemaError: the target's schema can't be used, or the registry does not take it.
        UnavailableError: the registry does not answer.
    """
    text, schema = _schema_of(config, target)
    digest, body, up = _rules_of(rules, source if direction == "up" else target, direction)
    registry = SchemaRegistry(config.registry_client_config())
    try:
        schema_id = registry.writer(target, text, register=register).schema_id
    except SchemaError:
        if register:
            raise
        schema_id = UNREGISTERED
    finally:
        registry.close()
    recipe = Recipe(schema_id, {schema_id: schema}, body, str(rules or ""), direction)
    whole = [source, target, direction, json.loads(text), digest]
    return Migration(
        source,
        target,
        recipe,
        config.registry_client_config(),
        hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest(),
        up,
    )


def _schema_of(config: Config, target: str) -> tuple[str, AvroSchema]:
    path = config.topic(target).schema
    if path is None:
        raise ConfigError(f"topics.{target}.schema", "name the schema file that its events are to fit")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"topics.{target}.schema", f"can't be read: {error}") from error
    return text, parse(text, name=str(path))


def _rules_of(path: Path | None, topic: str, direction: Direction) -> tuple[str, str, str]:
    """Return the rules' digest and text, and the digest of those for the way up."""
    if path is None:
        return "", "", ""
    file = read_migration(path)
    if file.topic != topic:
        raise ConfigError("rules", f"{path} is about topic {file.topic}, and {topic} is to be migrated")
    if direction == "down" and file.down is None:
        raise ConfigError(
            "rules",
            f"{path} has no `down`: events would go back to {topic} by Avro's resolution alone, with a default for "
            "each field that the rules of `up` have renamed or changed. Add it; `up` stays as it is",
        )
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError("rules", f"{path} can't be read: {error}") from error
    return digest_of(file), text, digest_of_up(text, str(path))


def digest_of_up(text: str, file: str) -> str:
    """Return the digest of those rules of a file that take events up; empty if it has none, or there is no file."""
    up = parse_migration(text, file).up if text else None
    return "" if up is None else RuleSet(up).digest
