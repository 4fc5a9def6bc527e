"""Files of rules as they are written, for corrections and for migrations: the models of their JSON Schemas."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from redrive import tagged_json
from redrive.rules.draft import parse_pointer


def _pointer(text: str) -> str:
    parse_pointer(text)
    return text


def _regular_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return text


def constant(value: Any) -> Any:
    """Return a value as dead letters keep it, ``{$bytes: …}`` and the like included, as the value itself.

    Raises:
        ValueError: it is none.
    """
    return tagged_json.decode(json.dumps(value).encode())


def _checked_constant(value: Any) -> Any:
    try:
        constant(value)
    except ValueError:
        raise ValueError("is not written as dead letters keep values; see redrive.tagged_json") from None
    return value


Pointer = Annotated[
    str,
    AfterValidator(_pointer),
    Field(description="JSON Pointer (RFC 6901), such as /a/0/b.", json_schema_extra={"pattern": "^(/.*)?$"}),
]
Pattern = Annotated[
    str, AfterValidator(_regular_expression), Field(description="Regular expression, found anywhere in the reason.")
]
Cel = Annotated[
    str, Field(min_length=1, description="CEL over `value`, and `letter.…` or `event.…`; see https://cel.dev.")
]
Constant = Annotated[
    Any,
    AfterValidator(_checked_constant),
    Field(description="A value; what JSON lacks is written as dead letters keep it: {$bytes: …}."),
]
OneOrMore = str | Annotated[list[str], Field(min_length=1)]
Table = dict[str, Constant]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _exactly_one(*names: str) -> dict[str, Any]:
    return {"oneOf": [{"required": [name]} for name in names]}


# Of these, exactly one must be given; `reading` sees to it, so that no other mistake hides this one.
VALUE = "value", "expression"
ACTION = "do", "function", "skip"
OUTCOME = "value", "unmatched", "rejected", "skipped"


class _WithValue(_Part):
    model_config = ConfigDict(json_schema_extra=_exactly_one(*VALUE))

    path: Pointer
    value: Constant = None
    expression: Cel | None = None


class Add(_WithValue):
    """RFC 6902: set a field, or insert in front of a list's item; ``-`` appends."""

    op: Literal["add"]


class Replace(_WithValue):
    """RFC 6902: set what must be there."""

    op: Literal["replace"]


class Test(_WithValue):
    """RFC 6902: reject the value unless this is at the path, with the same type."""

    op: Literal["test"]


class Remove(_Part):
    """RFC 6902: remove what must be there."""

    op: Literal["remove"]
    path: Pointer


class _FromTo(_Part):
    from_: Pointer = Field(alias="from")
    path: Pointer


class Move(_FromTo):
    """RFC 6902: remove from one place, add at another."""

    op: Literal["move"]

    @model_validator(mode="after")
    def _not_into_itself(self) -> Move:
        if self.path.startswith(self.from_ + "/"):
            raise ValueError("moves a thing into itself")
        return self


class Copy(_FromTo):
    """RFC 6902: add at one place what is at another."""

    op: Literal["copy"]


class Default(_WithValue):
    """Set what is missing or null."""

    op: Literal["default"]


class Drop(_Part):
    """Remove, if it is there."""

    op: Literal["drop"]
    path: Annotated[Pointer, Field(min_length=1)]


class Rename(_Part):
    """Give a field another name in the same object, if it is there; a field of that name must not be."""

    op: Literal["rename"]
    path: Annotated[Pointer, Field(min_length=1)]
    to: str = Field(description="The new name, not a path.")


class Convert(_Part):
    """Turn into another type, without loss; what is missing or null stays so."""

    op: Literal["convert"]
    path: Pointer
    to: Literal[
        "integer", "double", "decimal", "boolean", "string", "bytes", "bytes-of-base64", "timestamp", "date", "uuid"
    ]


class Map(_Part):
    """Look up in a table: by the text itself, or by what JSON writes for a number, true, false or null.

    What is missing stays so, and null too unless the table has it. What the table lacks is rejected, unless
    ``others`` or ``otherwise`` says what becomes of it.
    """

    op: Literal["map"]
    path: Pointer
    table: str | Table = Field(description="The table, or the name of one in `tables`.")
    others: Literal["keep", "reject"] = Field("reject", description="What the table lacks: kept as it is, or rejected.")
    otherwise: Constant = Field(None, description="What becomes of all that the table lacks.")

    @model_validator(mode="after")
    def _one_fate(self) -> Map:
        if {"others", "otherwise"} <= self.model_fields_set:
            raise ValueError("needs one of others, otherwise, or neither; it has both")
        return self


class Split(_Part):
    """Cut a text at each separator, into a list or into as many fields; what is missing or null stays so."""

    op: Literal["split"]
    path: Pointer
    separator: str = Field(min_length=1)
    into: list[Pointer] | None = Field(
        None,
        min_length=1,
        description="Where the parts go, of which there must be as many; without it, a list in place.",
    )


Operation = Annotated[
    Add | Remove | Replace | Move | Copy | Test | Default | Rename | Convert | Map | Split | Drop,
    Field(discriminator="op"),
]

OPERATIONS = "add", "remove", "replace", "move", "copy", "test", "default", "rename", "convert", "map", "split", "drop"


class Match(_Part):
    """Which letters a rule is for: all that is given must hold; nothing given is for all letters."""

    reason: OneOrMore | None = Field(None, description="One of the reasons of dead letters, such as invalid-value.")
    topic: OneOrMore | None = Field(None, description="The topic that the event was meant for, or was read from.")
    producer: OneOrMore | None = Field(None, description="The producer or consumer group that wrote the letter.")
    field: OneOrMore | None = Field(
        None, description="The field that the letter names, such as order.items[*].price; [*] is any item or key."
    )
    when: Cel | None = Field(None, description="CEL that must be true; asked only of letters for which the rest holds.")


class When(_Part):
    """Which events a rule is for; nothing given is for all events."""

    when: Cel | None = Field(None, description="CEL that must be true.")


class _Rule(_Part):
    model_config = ConfigDict(json_schema_extra=_exactly_one(*ACTION))

    name: str = Field(min_length=1, description="Shown in plans and kept in the ledger.")
    do: list[Operation] | None = Field(None, min_length=1, description="Operations, done in this order.")
    function: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="module:name of a Python function (value, letter or event) → value; it may raise Skip or Reject.",
    )
    skip: str | None = Field(None, min_length=1, description="Why these values need not go on.")


class Rule(_Rule):
    """What is done to which letters."""

    match: Match


class EventRule(_Rule):
    """What is done to which events."""

    match: When


class ExampleLetter(_Part):
    """The letter of an example; what rules can't see is left out."""

    reason: str
    topic: str
    value: Constant
    field: str = ""
    producer: str = ""
    detail: str = ""
    attempt: int = Field(1, ge=1)
    schema_id: int | None = None
    key: str | None = None
    headers: dict[str, str] = {}


class Expect(_Part):
    """What must come out."""

    model_config = ConfigDict(json_schema_extra=_exactly_one(*OUTCOME))

    value: Constant = None
    unmatched: Literal[True] | None = None
    rejected: Pattern | None = None
    skipped: Pattern | None = None
    rules: list[str] | None = Field(None, description="The rules that must have done it, in this order.")


class Example(_Part):
    """A test of the rules."""

    name: str = Field(min_length=1)
    letter: ExampleLetter
    expect: Expect


class ExampleEvent(_Part):
    """The event of an example; what rules can't see is left out."""

    value: Constant
    id: str = ""
    topic: str = ""
    key: str | None = None
    headers: dict[str, str] = {}
    timestamp: int = Field(0, ge=0, description="Milliseconds since 1970.")
    schema_id: int | None = Field(None, ge=0, le=0xFFFFFFFF)


class EventExample(_Part):
    """A test of a migration's rules."""

    name: str = Field(min_length=1)
    event: ExampleEvent
    expect: Expect


_WHICH = "Which rules are applied: the first that matches, or all that do, each on what those before left."


class RuleFile(_Part):
    """Correction rules for dead letters."""

    match: Literal["first", "all"] = Field(description=_WHICH)
    rules: list[Rule] = Field(min_length=1)
    tables: dict[str, Table] = Field({}, description="Look-up tables that operations refer to by name.")
    examples: list[Example] = Field([], description="The rules' own tests: `redrive rules test FILE`.")


class Direction(_Part):
    """The rules of one direction of a migration. What they leave is resolved to the schema as Avro does it."""

    match: Literal["first", "all"] = Field(description=_WHICH)
    rules: list[EventRule] = Field(min_length=1)
    tables: dict[str, Table] = Field({}, description="Look-up tables that operations refer to by name.")
    examples: list[EventExample] = Field([], description="The rules' own tests: `redrive rules test FILE`.")


class MigrationFile(_Part):
    """Rules that take a topic's events to a new schema, and back; what Avro resolves by itself needs none."""

    topic: str = Field(min_length=1)
    up: Direction | None = Field(None, description="From any older schema to the new one.")
    down: Direction | None = Field(None, description="From the new schema back to the old one.")


DIRECTIONS = "up", "down"
"""The fields of a `MigrationFile` that have rules."""


def json_schema(of: type[RuleFile] | type[MigrationFile] = RuleFile) -> dict[str, Any]:
    """Return the JSON Schema of files of correction rules, or of migrations."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **of.model_json_schema(by_alias=True)}
