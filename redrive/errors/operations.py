"""Runs of jobs, and their plans."""

from __future__ import annotations

from redrive.errors.base import RedriveError


class StalePlanError(RedriveError):
    """What a plan was made from has changed since then: it must not be carried out.

    Attributes:
        moved: what has changed.
    """

    def __init__(self, moved: str) -> None:
        self.moved = moved
        super().__init__(f"the plan is stale: {moved}; nothing of it is carried out any more; make a new one")


class FencedError(RedriveError):
    """A newer run of the same unit has taken over; this one has stopped and changed nothing after that.

    Attributes:
        unit: the unit's name.
    """

    def __init__(self, unit: str) -> None:
        self.unit = unit
        super().__init__(f"{unit}: a newer run has taken over this unit; this one stops. Look for the other run.")


class HeldError(RedriveError):
    """Another running operation holds what this one needs.

    Attributes:
        resource: what is held, such as ``local/flights.departed``.
        holder: the name and id of the other operation.
    """

    def __init__(self, resource: str, holder: str) -> None:
        self.resource, self.holder = resource, holder
        super().__init__(f"{resource} is held by {holder}; wait for it to end or cancel it, then start again")


class UnknownOperationError(RedriveError):
    """The ledger has no such operation, or more than one that it could be.

    Attributes:
        operation_id: what was asked for.
        found: ``none`` or ``several``.
    """

    def __init__(self, operation_id: str, found: str) -> None:
        self.operation_id, self.found = operation_id, found
        way_out = "see `redrive operations list`" if found == "none" else "give more letters of its id"
        super().__init__(f"operation {operation_id!r}: the ledger knows {found}; {way_out}")


class StoppedError(RedriveError):
    """The work was asked to stop and did so, at a clean cursor; starting it again goes on from there."""
