"""Options that say which dead letters a command is about: those of a `Selection`, the same for every command."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import wraps
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from redrive.deadletters.fate import FATES, NONE
from redrive.deadletters.selection import Selection
from redrive.errors import ConfigError

_ANY = "any"  # given to --fate: letters whatever became of them, which an empty list stands for

_OPTIONS = {
    "reasons": "--reason",
    "producers": "--producer",
    "topics": "--topic",
    "dead_letter_topics": "--dead-letter-topic",
    "clusters": "--cluster",
    "since": "--since",
    "until": "--until",
    "event_keys": "--key",
    "schema_ids": "--schema-id",
    "dialects": "--dialect",
    "ids": "--id",
    "fates": "--fate",
}
_MOMENTS = {"since", "until"}
_FATES_HELP = f"What became of them last: {', '.join((NONE, *FATES))}, or {_ANY}. Else the open ones: none and held."


def selecting(command: Callable[..., None]) -> Callable[..., None]:
    """Put the options of a selection in the place of a command's first parameter, which is the selection.

    What the options mean stands in `Selection`. Those of lists may be repeated.
    """

    @wraps(command)
    def run(**given: Any) -> None:
        selection = select({field: given.pop(field) for field in _OPTIONS})
        command(selection, **given)

    _, *own = inspect.signature(command, eval_str=True).parameters.values()
    own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    parameters = [*(_parameter(field) for field in _OPTIONS), *own]
    # Typer reads a command's options from these two.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def select(given: Mapping[str, Any]) -> Selection:
    """Make a selection of what was given for its fields; None: not given.

    Raises:
        ConfigError: a value makes no sense; names its option.
    """
    fields: dict[str, Any] = {field: value for field, value in given.items() if value not in (None, [])}
    for field in _MOMENTS & fields.keys():
        fields[field] = _moment(_OPTIONS[field], fields[field])
    if _ANY in fields.get("fates", ()):
        fields["fates"] = []
    try:
        return Selection(**fields)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        field = str(wrong["loc"][0]) if wrong["loc"] else "since"  # what is wrong with all of it is its span of time
        raise ConfigError(_OPTIONS[field], _in_words(wrong["type"], wrong["input"], wrong["msg"])) from None


def _parameter(field: str) -> inspect.Parameter:
    about = _FATES_HELP if field == "fates" else Selection.model_fields[field].description
    kind = str if field in _MOMENTS else list[str]
    metavar = "TIME" if field in _MOMENTS else None
    option = typer.Option(_OPTIONS[field], metavar=metavar, help=about, rich_help_panel="Which letters")
    annotation = Annotated[kind | None, option]  # type: ignore[valid-type]
    return inspect.Parameter(field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _moment(option: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ConfigError(option, f"{text!r} is no time with a time zone; write it like 2026-03-29T08:00Z")
    return moment


def _in_words(kind: str, value: Any, message: str) -> str:
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    for subject in ("Input ", "String ", "List "):
        message = message.removeprefix(subject)
    return f"{reprlib.repr(value)} {message.replace('should ', 'must ', 1)}"
