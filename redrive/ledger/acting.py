"""What a person does by a command, as an operation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from redrive.errors import FencedError, HeldError, RedriveError, StalePlanError, UncorrectableLetterError
from redrive.ledger.ledger import Ledger
from redrive.ledger.models import Status
from redrive.ledger.operation import Operation


@contextmanager
def acting(
    ledger: Ledger, job: str, *, cluster: str, resources: Sequence[str], who: str, parameters: dict[str, Any]
) -> Iterator[Operation]:
    """Begin an operation that shows signs of life while the block runs. The block ends it, or an error that leaves it.

    Raises:
        UnavailableError: the ledger's database does not answer.
    """
    operation = ledger.begin(job, "run", cluster=cluster, resources=resources, who=who, parameters=parameters)
    with operation.keep_alive():
        try:
            yield operation
        except BaseException as error:
            # What other errors say may quote a payload.
            reason = str(error) if isinstance(error, RedriveError) else type(error).__name__
            with suppress(FencedError):  # it has ended, or another one has taken it over
                operation.finish(_status(error), evidence={"reason": reason})
            raise


def _status(error: BaseException) -> Status:
    if isinstance(error, HeldError | StalePlanError | UncorrectableLetterError):
        return "refused"
    return "failed" if isinstance(error, Exception) else "cancelled"
