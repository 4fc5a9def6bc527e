"""Registering files of schemas, under the subjects of the topics that have them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from redrive.errors import SchemaError
from redrive.governance.checking import SchemaFile
from redrive.governance.rules import Violation
from redrive.schemas import SchemaRegistry

Outcome = Literal["registered", "would be registered", "there already", "refused", "unused"]


@dataclass(frozen=True, slots=True)
class Registration:
    """What became of a file under one subject.

    Attributes:
        file: where the schema is.
        topic: whose subject it is; empty if no topic has it.
        outcome: ``refused``: it breaks a rule, or the registry does not take it.
        version: in the subject; None if it is none.
        schema_id: None likewise.
        reason: why it was refused.
    """

    file: Path
    topic: str
    outcome: Outcome
    version: int | None = None
    schema_id: int | None = None
    reason: str = ""


def register(checked: SchemaFile, registry: SchemaRegistry, *, dry_run: bool = False) -> Iterator[Registration]:
    """Make a checked schema the latest version of each of its subjects; one that it is a version of stays as it is.

    Args:
        checked: the file, with all that was found, also beside earlier versions.
        registry: the registry.
        dry_run: only say what would be done.

    Raises:
        UnavailableError: the registry does not answer.
    """
    file, text = checked.file, checked.text
    if not checked.topics:
        yield Registration(file, "", "unused", reason="no topic of the settings has this schema")
    for topic in checked.topics:
        errors = [one for one in checked.violations if one.severity == "error" and one.topic in ("", topic)]
        if text is None or errors:
            yield Registration(file, topic, "refused", reason=_why(errors))
            continue
        there = registry.find(topic, text)
        if there is not None:
            yield Registration(file, topic, "there already", *there)
        elif dry_run:
            yield Registration(file, topic, "would be registered")
        else:
            try:
                written = registry.writer(topic, text, register=True)
            except SchemaError as error:
                yield Registration(file, topic, "refused", reason=error.reason)
            else:
                yield Registration(file, topic, "registered", written.version, written.schema_id)


def _why(errors: list[Violation]) -> str:
    first = errors[0]
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    return f"{first.rule}: {first.path + ': ' if first.path else ''}{first.reason}{more}; see `redrive schemas check`"
