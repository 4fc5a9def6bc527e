"""Reading the settings: the file, the environment over it, and every mistake with its place."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from redrive.config import aws, gateway, jobs, sections
from redrive.config.mistakes import Mistake, names
from redrive.config.toml_lines import key_lines
from redrive.errors import ConfigError

FILE = "redrive.toml"
PREFIX = "REDRIVE_"

S = TypeVar("S", bound=BaseSettings)


def find_file(path: str | Path | None = None) -> Path:
    """Say which file holds the settings: ``path``, else ``$REDRIVE_CONFIG``, else ``./redrive.toml``.

    Raises:
        ConfigError: it is not there.
    """
    named = path or os.environ.get(f"{PREFIX}CONFIG")
    file = Path(named or FILE).absolute()
    if not file.is_file():
        way_out = "" if named else f"; go to the folder that has it, or name it by ${PREFIX}CONFIG"
        raise ConfigError(FILE, f"there is no file {file}{way_out}")
    return file


def read(settings: type[S], file: Path) -> tuple[S | None, list[ConfigError]]:
    """Read ``file`` and the environment into ``settings``; give every mistake, in the order of the lines."""
    shown = _short(file)
    try:
        text = file.read_text(encoding="utf-8")
        in_file = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        return None, [ConfigError(FILE, f"can't be read: {error}", shown)]
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        number = line[1] if line else len(text.splitlines())
        return None, [ConfigError(FILE, f"is not TOML: {error}", f"{shown}:{number}")]
    try:
        in_environment = EnvSettingsSource(settings)()
    except SettingsError as error:
        return None, [ConfigError("environment", f"{error} ({error.__cause__})", f"${PREFIX}…")]

    given = _over(in_file, in_environment)
    mistakes = [*_unknown_variables(settings), *_misfits(given, file.parent)]
    made = None
    try:
        made = settings.model_validate(given)
    except ValidationError as error:
        mistakes += [_in_words(settings, found["loc"], found["type"], found["msg"]) for found in error.errors()]
    places = _Places(shown, key_lines(text))
    mistakes.sort(key=lambda mistake: (places.line(mistake[0]), mistake))
    return made, [ConfigError(".".join(path), reason, places.of(path)) for path, reason in mistakes]


class _Places:
    """Where a setting was given: in a line of the file, or in an environment variable."""

    def __init__(self, file: str, lines: dict[tuple[str, ...], int]) -> None:
        self._file, self._lines = file, lines
        self._variables = {_path_of(name): name for name in os.environ if name.startswith(PREFIX)}

    def of(self, path: tuple[str, ...]) -> str:
        for depth in range(len(path), 0, -1):
            if name := self._variables.get(tuple(part.lower() for part in path[:depth])):
                return f"${name}"
            if line := self._lines.get(path[:depth]):
                return f"{self._file}:{line}"
        return self._file

    def line(self, path: tuple[str, ...]) -> int:
        above = (self._lines.get(path[:depth], 0) for depth in range(len(path), 0, -1))
        return next((line for line in above if line), 0)


def _path_of(variable: str) -> tuple[str, ...]:
    return tuple(variable.removeprefix(PREFIX).lower().split("__"))


def _in_words(settings: type[BaseSettings], loc: tuple[int | str, ...], kind: str, message: str) -> Mistake:
    """Put what pydantic found into words that say what to do."""
    path = tuple(str(part) for part in loc if part != "[key]")
    if path[2:3] == ("fleet",):
        return _of_fleet(path, kind, message)
    if kind == "extra_forbidden":
        return path, f"is not a setting of Redrive; it knows {names(_siblings(settings, path))}"
    if kind == "missing":
        return path, "is missing; there is no default for it"
    form = _form(path, is_key="[key]" in loc) if kind == "string_pattern_mismatch" else None
    return path, form or _reason(message)


def _form(path: tuple[str, ...], *, is_key: bool) -> str | None:
    """Say what a text must look like that has not the form it should have."""
    if path[-1] in _FORMS:
        return f"must be {_FORMS[path[-1]]}"
    if path[0] == "gateway" and "types" in path[1:-1]:
        return "is no event type: use letters, digits, dots, dashes and underscores, 200 at most"
    return "is no name for it: use lower-case letters, digits, dashes and underscores" if is_key else None


_FORMS = {
    "bootstrap": "one or more host:port with commas between them",
    "block": "the type and the name of a block of Prefect, such as slack-webhook/oncall",
}


def _reason(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Input ").replace("should ", "must ")


_SECTIONS: dict[str, type[BaseModel]] = {
    "standby": sections.StandbyConfig,
    "registry": sections.RegistryConfig,
    "ledger": sections.LedgerConfig,
    "corrections": jobs.CorrectionsConfig,
    "backfills": jobs.BackfillsConfig,
    "jobs": jobs.JobsConfig,
    "rebalancing": jobs.RebalancingConfig,
    "scaling": jobs.ScalingConfig,
    "gateway": gateway.GatewayConfig,
    "notifications": jobs.NotificationsConfig,
    "aws": aws.AwsConfig,
    "clusters": sections.ClusterConfig,
    "domains": sections.DomainConfig,
    "topics": sections.TopicConfig,
}

_FLEETS: dict[str, type[BaseModel]] = {"msk": sections.MskFleetConfig, "command": sections.CommandFleetConfig}


def _of_fleet(path: tuple[str, ...], kind: str, message: str) -> Mistake:
    if kind.startswith("union_tag"):
        return (*path, "kind"), f"must be one of {names(_FLEETS)}"
    what = path[3] if len(path) > 3 else ""
    path = (*path[:3], *path[4:])  # pydantic puts the kind of fleet there; the file does not
    if kind == "extra_forbidden":
        return path, f"is not a setting of such a fleet; it knows {names(_FLEETS[what].model_fields)}"
    if kind == "missing":
        return path, "is missing; there is no default for it"
    if kind == "string_pattern_mismatch":
        return path, "must be the ARN of an MSK cluster: arn:aws:kafka:REGION:ACCOUNT:cluster/NAME/ID"
    return path, _reason(message)


def _siblings(settings: type[BaseSettings], path: tuple[str, ...]) -> list[str]:
    model: type[BaseModel] = settings
    if path[0] == "gateway" and len(path) > 1:
        model = gateway.section_of(path)
    elif path[0] == "aws" and len(path) > 1:
        model = aws.section_of(path)
    elif len(path) > 1:
        model = sections.Secret if path[-2].endswith("password") else _SECTIONS[path[0]]
    return [about.alias or name for name, about in model.model_fields.items()]


def _misfits(given: dict[str, Any], folder: Path) -> Iterator[Mistake]:
    """Find what is wrong between settings.

    This looks at what was written, not at what was made of it, so that another mistake hides none of these.
    """
    clusters, domains = _entries(given, "clusters"), _entries(given, "domains")
    for name, domain in domains.items():
        regions = domain.get("regions")
        settings: dict[tuple[str, ...], Any] = {("cluster",): domain.get("cluster")}
        if isinstance(regions, dict):
            settings |= {("regions", region): cluster for region, cluster in regions.items()}
        for setting, cluster in settings.items():
            if isinstance(cluster, str) and cluster not in clusters:
                reason = f"there is no cluster {cluster!r}; there are {names(clusters)}"
                yield ("domains", name, *setting), reason
    for name, topic in _entries(given, "topics").items():
        of = topic.get("domain")
        if isinstance(of, str) and of not in domains:
            yield ("topics", name, "domain"), f"there is no domain {of!r}; there are {names(domains)}"
        yield from _missing_files(("topics", name), topic, ["schema"], folder)
        yield from _no_number(("topics", name, "config", "max.message.bytes"), topic)
        yield from _never_writable(("topics", name, "config", "min.insync.replicas"), topic)
    yield from gateway.misfits(given, folder)
    yield from aws.misfits(given)
    for name, cluster in clusters.items():
        yield from _missing_files(("clusters", name), cluster, ["ca_file", "certificate_file", "key_file"], folder)


def _missing_files(path: tuple[str, ...], entry: dict[str, Any], keys: list[str], folder: Path) -> Iterator[Mistake]:
    for key in keys:
        if isinstance(file := entry.get(key), str) and not (folder / file).is_file():
            yield (*path, key), f"there is no file {_short(folder / file)}"


def _no_number(path: tuple[str, ...], topic: dict[str, Any]) -> Iterator[Mistake]:
    """Find what a producer that starts could not read; what else Kafka does not take, it says itself."""
    config = topic.get("config")
    value = config.get(path[-1], 0) if isinstance(config, dict) else 0
    if not re.fullmatch(r"[0-9]+", str(value)):
        yield path, "must be a whole number, of bytes"


def _never_writable(path: tuple[str, ...], topic: dict[str, Any]) -> Iterator[Mistake]:
    config = topic.get("config")
    least = str(config.get(path[-1])) if isinstance(config, dict) else ""
    replicas = str(topic.get("replication", sections.TopicConfig.model_fields["replication"].default))
    if least.isdecimal() and replicas.isdecimal() and int(least) > int(replicas):
        yield path, f"must not be greater than replication ({replicas}), or nothing can be published"


def _entries(given: dict[str, Any], section: str) -> dict[str, dict[str, Any]]:
    entries = given.get(section)
    if not isinstance(entries, dict):
        return {}
    return {name: entry for name, entry in entries.items() if isinstance(entry, dict)}


def _unknown_variables(settings: type[BaseSettings]) -> Iterator[Mistake]:
    """Find variables like REDRIVE_CLUSTRS__LOCAL__BOOTSTRAP, which would be passed over without a word."""
    for variable in os.environ:
        path = _path_of(variable)
        if variable.startswith(PREFIX) and len(path) > 1 and path[0] not in settings.model_fields:
            yield path, f"is not a section of Redrive's settings; there are {names(settings.model_fields)}"


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _over(merged[key], value) if both else value
    return merged


def _short(path: Path) -> str:
    """Give the path as a person in the current folder would write it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
