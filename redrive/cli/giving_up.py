"""What commands share by which a person gives letters up: the reason that they have to give, and how they end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from redrive.cli.output import out, show_json
from redrive.errors import ConfigError


def see_that_it_is_said(option: str, text: str, what: str) -> None:
    """Refuse an empty reason.

    Args:
        option: that it was given by.
        text: the reason.
        what: it has to say.

    Raises:
        ConfigError: it is empty.
    """
    if not text.strip():
        raise ConfigError(option, f"is empty; say {what}")


def ask(question: str, *, yes: bool) -> None:
    """Have the person confirm it, unless that was done beforehand.

    Raises:
        typer.Abort: they do not, or there is nobody.
    """
    if not yes:
        typer.confirm(question, abort=True, err=True)


def show_end(line: str, operation: str | None, letters: int, *, json: bool, more: Mapping[str, Any] = {}) -> None:
    """Print what was done.

    Args:
        line: for people.
        operation: its id in the ledger; None: nothing was to be done.
        letters: how many were given up.
        json: print a document for programs in the place of the line.
        more: goes into that.
    """
    if json:
        show_json({"operation": operation, "discarded": letters, **more})
    else:
        out.print(line, markup=False, highlight=False, soft_wrap=True)
