"""All settings as a page of Markdown, from the models that check them: docs/settings.md is what this gives."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from redrive.config.aws import AwsConfig, MskConfig
from redrive.config.gateway import GatewayConfig, PartnerConfig, TokensConfig
from redrive.config.jobs import (
    BackfillsConfig,
    CorrectionsConfig,
    JobsConfig,
    NotificationsConfig,
    RebalancingConfig,
    ScalingConfig,
)
from redrive.config.sections import (
    ClusterConfig,
    CommandFleetConfig,
    DomainConfig,
    LedgerConfig,
    MskFleetConfig,
    RegistryConfig,
    StandbyConfig,
    TopicConfig,
)

SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("[clusters.NAME]", ClusterConfig),
    ('[clusters.NAME.fleet] with kind = "msk"', MskFleetConfig),
    ('[clusters.NAME.fleet] with kind = "command"', CommandFleetConfig),
    ("[domains.NAME]", DomainConfig),
    ('[topics."NAME"]', TopicConfig),
    ("[registry]", RegistryConfig),
    ("[standby]", StandbyConfig),
    ("[ledger]", LedgerConfig),
    ("[corrections]", CorrectionsConfig),
    ("[backfills]", BackfillsConfig),
    ("[rebalancing]", RebalancingConfig),
    ("[scaling]", ScalingConfig),
    ("[jobs]", JobsConfig),
    ("[notifications]", NotificationsConfig),
    ("[gateway]", GatewayConfig),
    ("[gateway.tokens]", TokensConfig),
    ("[gateway.partners.NAME]", PartnerConfig),
    ("[aws]", AwsConfig),
    ("[aws.clusters.NAME]", MskConfig),
)
"""Header of each table of the file, and its model; what a platform can't be without comes first."""

_HEAD = """\
# Settings

They stand in one file, `redrive.toml`: in the folder that a command is called in, or where `REDRIVE_CONFIG` says.
Paths in it are relative to it. Environment variables go over it: `REDRIVE_` and the path of the setting, with two
underscores between its parts, such as `REDRIVE_CLUSTERS__MAIN__BOOTSTRAP`. What is not known is refused; `redrive
config check` names each mistake with its line.

`[clusters]`, `[domains]`, `[topics]` and `[registry]` are needed; all others are for those who use them, or are what
stands here under *unless set*. `redrive config reference` prints this page."""

_SECRET = '`{ env = "NAME" }` or `{ file = "path" }`'
_TABLE = "a table, below"
_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}


def page() -> str:
    """Write the page."""
    return "\n\n".join([_HEAD, *(_section(header, model) for header, model in SECTIONS)]) + "\n"


def _section(header: str, model: type[BaseModel]) -> str:
    rows = [f"| `{name}` | {takes} | {unless} | {what} |" for name, takes, unless, what in _rows(model)]
    table = "\n".join(["| setting | takes | unless set | what it is |", "|---|---|---|---|", *rows])
    return f"## `{header}`\n\n{_about(model)}\n\n{table}"


def _rows(model: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    schema = model.model_json_schema(by_alias=True)
    whats = descriptions(model)
    for name, field in model.model_fields.items():
        shown = field.alias or name
        takes = _takes(schema["properties"][shown])
        yield shown, takes, _unless_set(field.get_default(call_default_factory=True)), _cell(whats[name])


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Give what the docstrings of a model, and of those that it is made from, say of its settings."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        of_attributes = inspect.cleandoc(each.__doc__ or "").partition("\nAttributes:\n")[2]
        for entry in re.split(r"\n(?= {4}\S)", of_attributes):
            name, _, what = entry.strip().partition(": ")
            found[name] = what
    return found


def _about(model: type[BaseModel]) -> str:
    before, _, after = inspect.cleandoc(model.__doc__ or "").partition("\nAttributes:\n")
    # What stands below the attributes is about the section, too.
    return _text(before + "\n\n" + "\n".join(re.findall(r"^\S.*", after, re.MULTILINE))).strip()


def _takes(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _SECRET if schema["$ref"].endswith("/Secret") else _TABLE
    if ways := schema.get("anyOf") or schema.get("oneOf"):
        words = [_takes(each) for each in ways if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    if "enum" in schema or "const" in schema:
        return ", ".join(f'`"{each}"`' for each in schema.get("enum", [schema.get("const")]))
    match schema["type"]:
        case "array":
            return f"list of: {_takes(schema['items'])}"
        case "object":
            entries = [schema.get("additionalProperties"), *schema.get("patternProperties", {}).values()]
            return _TABLE if any(isinstance(of, dict) and "$ref" in of for of in entries) else "a table: name = value"
        case word:
            return "path" if schema.get("format") == "path" else _WORDS[word] + _limits(schema)


def _limits(schema: dict[str, Any]) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    above = schema.get("exclusiveMinimum")
    low = f"above {above:g}" if above is not None else f"from {_number(least)}" if least is not None else ""
    high = f"up to {_number(most)}" if most is not None else ""
    return "".join(f", {each}" for each in (low, high) if each)


def _unless_set(default: Any) -> str:
    if default is PydanticUndefined:
        return "**has to be set**"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, int | float):
        return f"`{_number(default)}`"
    return f'`"{default}"`' if isinstance(default, str) else "–"


def _number(value: float) -> str:
    if not float(value).is_integer():
        return f"{value:g}"
    return f"{int(value):_}" if value >= 10_000 else f"{int(value)}"


def _cell(text: str) -> str:
    # What it is called in the file is its name here.
    return " ".join(re.sub(r" \(`\w+` in the file\)", "", _text(text)).split()).replace("|", "\\|")


def _text(text: str) -> str:
    return text.replace("``", "`")
