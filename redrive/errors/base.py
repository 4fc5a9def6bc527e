"""The root of all errors."""

from __future__ import annotations

from typing import Any


class RedriveError(Exception):
    """The root: ``except RedriveError`` catches all that Redrive raises on purpose, and nothing else."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes whole: the message and the fields, without being built anew."""
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[RedriveError], args: tuple[Any, ...], fields: dict[str, Any]) -> RedriveError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error
