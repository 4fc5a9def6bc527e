"""Checking files of schemas, as a step of CI: each by itself, and beside what the registry has of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from redrive.avro.schema import parse
from redrive.config import Config
from redrive.errors import ConfigError, SchemaError
from redrive.governance.rules import Violation, check_text, line_of
from redrive.migrations.compatibility import Finding, compare
from redrive.schemas import Judged, SchemaRegistry
from redrive.subjects import read_schema

_ROLLED_BACK = (
    "is version {} again, and the latest is {}: producers start with the latest, and `redrive schemas register` leaves "
    "that so; to go back, change something in it that the registry counts, so that it becomes a version of its own"
)


@dataclass(frozen=True, slots=True)
class SchemaFile:
    """A file of a schema, and what is wrong with it.

    Attributes:
        file: where it is.
        text: the schema; None if it can't be read.
        topics: the topics whose values are to have it, by the settings.
        violations: of rules; those about the whole file first, then by line.
    """

    file: Path
    text: str | None
    topics: tuple[str, ...]
    violations: tuple[Violation, ...]

    @property
    def passes(self) -> bool:
        """Whether nothing stands in the way of registering it."""
        return not any(violation.severity == "error" for violation in self.violations)


def schema_files(paths: Iterable[Path]) -> list[Path]:
    """Give the files that are meant: files as they are, and each ``.avsc`` in a folder or below it.

    Raises:
        ConfigError: one of them is not there, or there is no schema in any of them.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ConfigError(str(path), "there is no such file or folder")
        files += sorted(path.rglob("*.avsc")) if path.is_dir() else [path]
    if not files:
        raise ConfigError(", ".join(map(str, paths)), "there is no .avsc file in it")
    return list(dict.fromkeys(files))


def check_file(config: Config, file: Path) -> SchemaFile:
    """Check a file by itself, without the registry."""
    used_by = tuple(
        sorted(
            name
            for name in config.topics
            if (schema := config.topic(name).schema) is not None and schema.resolve() == file.resolve()
        )
    )
    unused = [] if used_by else [Violation("unused", None, "", "no topic of the settings has this schema")]
    try:
        text = read_schema(file, file.name)
    except SchemaError as error:
        return SchemaFile(file, None, used_by, (Violation("not-avro", None, "", error.reason), *unused))
    return SchemaFile(file, text, used_by, (*unused, *check_text(text, file.name)))


def compatible(checked: SchemaFile, registry: SchemaRegistry) -> list[Violation]:
    """Ask the registry, for each topic of a valid schema, whether it may follow the versions that there are.

    Raises:
        UnavailableError: the registry does not answer.
    """
    text = checked.text
    if text is None or any(violation.rule == "not-avro" for violation in checked.violations):
        return []
    return [violation for topic in checked.topics for violation in _beside_earlier(topic, text, registry)]


def _beside_earlier(topic: str, text: str, registry: SchemaRegistry) -> Iterator[Violation]:
    try:
        versions = registry.versions(topic)
    except SchemaError:
        return  # there is nothing to follow
    try:
        if there := registry.find(topic, text):
            if there[0] != (latest := max(versions)):
                yield Violation("rolled-back", None, "", _ROLLED_BACK.format(there[0], latest), topic)
            return
        judged = registry.judge(topic, text)
    except SchemaError as error:
        yield Violation("incompatible", None, "", error.reason, topic)
        return
    if judged.fits:
        return
    places = list(
        _places(judged, text, [versions[max(versions)]] if not judged.transitive else versions.values(), registry)
    )
    which = "the versions that there are" if judged.transitive else "the latest version"
    said = f"may not follow {which} by {judged.rule if judged.rule != 'NONE' else 'BACKWARD, and no other rule is set'}"
    for finding in places:
        yield Violation("incompatible", line_of(text, finding.path), finding.path, f"{said}: {finding.reason}", topic)
    if not places:
        yield Violation("incompatible", None, "", f"{said}, says the registry", topic)


def _places(judged: Judged, text: str, ids: Iterable[int], registry: SchemaRegistry) -> Sequence[Finding]:
    """Say where a schema and earlier ones don't fit, in the direction that the rule is about."""
    new, found = parse(text), dict[Finding, None]()
    for schema_id in ids:
        old = registry.schema(schema_id)
        if not judged.rule.startswith("FORWARD"):
            found |= dict.fromkeys(finding for finding in compare(old, new) if finding.breaks)
        if judged.rule.startswith(("FORWARD", "FULL")):
            found |= dict.fromkeys(finding for finding in compare(new, old) if finding.breaks)
    return list(found)
