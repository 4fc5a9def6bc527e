"""Rules that are Python functions: ``module:name``, called with a value and its letter or event, giving the new value.

::

    def swap_coordinates(value: Any, letter: Letter) -> Any:
        if "lat" not in value:
            raise Reject("it has no latitude")
        return value | {"lat": value["lon"], "lon": value["lat"]}

The value is a copy. A function must be deterministic, and its reasons must quote nothing of the value, since they
go into reports and the ledger.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class Reject(Exception):  # noqa: N818 - a function's word
    """Raised by a function: this value can't be put right, for this reason."""


class Skip(Exception):  # noqa: N818 - likewise
    """Raised by a function: this value need not go on, for this reason."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function that a rule names.

    Attributes:
        call: the function.
        digest: SHA-256 of the source of the module that it is in: of it and of what it uses there.
    """

    call: Callable[[Any, Any], Any]
    digest: str


def find_function(reference: str) -> Function:
    """Import the function ``module:name``.

    Raises:
        ValueError: there is none, its module can't be imported, or its source can't be read.
    """
    module_name, _, name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the module does when it is imported
        raise ValueError(f"{module_name} can't be imported: {type(error).__name__}: {error}") from error
    call = getattr(module, name, None)
    if not inspect.isfunction(call):
        raise ValueError(f"{module_name} has no function {name}")
    home = inspect.getmodule(call) or module  # another one, if the name is only imported there
    try:
        source = inspect.getsource(home)
    except (OSError, TypeError) as error:
        raise ValueError(f"the source of {home.__name__} can't be read; without it no digest can name it") from error
    try:
        inspect.signature(call).bind(None, None)
    except TypeError:
        raise ValueError(f"{reference} can't be called with a value and the letter or event that it is of") from None
    return Function(call, hashlib.sha256(source.encode()).hexdigest())
