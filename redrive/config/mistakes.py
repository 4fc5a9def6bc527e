"""What checks have in common that look at settings as they were given, before they are a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

Mistake = tuple[tuple[str, ...], str]
"""Path of a setting, and what is wrong with it."""


def numbers(section: type[BaseModel], given: Mapping[str, Any], *settings: str) -> list[float]:
    """Give settings of a section as numbers; one that is not given, or is none, by its default.

    ``given`` may come from the environment, where all is text.
    """
    found = []
    for setting in settings:
        try:
            found.append(float(given[setting]))
        except (KeyError, TypeError, ValueError):  # of the last two, pydantic says so
            found.append(float(section.model_fields[setting].default))
    return found


def table(given: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Give a table of the settings; an empty one if it is not given, or is none: then pydantic says so."""
    found = given.get(key)
    return found if isinstance(found, dict) else {}


def names(known: Iterable[str]) -> str:
    """List names for a message."""
    return ", ".join(sorted(known)) or "none"
