"""A sealable log: the one primitive under the standby store.

A log is one ``pk`` of the table; its entries are slots 1, 2, 3, … without gaps. An append takes the next slot or
learns who has it. A seal is an entry like any other: whoever comes later finds the slot taken, so a sealed log can
never grow, without locks, transactions or clocks.
"""

from __future__ import annotations

import uuid

from redrive.standby.store import Slot, Store

SEAL = "seal"


def new_token(owner: str) -> str:
    """Return a token that no other append has."""
    return f"{owner}/{uuid.uuid4().hex[:16]}"


class SealedError(Exception):
    """The log has a seal: nothing can be added to it. Control flow inside the protocol, never seen outside."""


class StreamLog:
    """One producer's stream in one epoch of a lane: the only writer of events in it, but anyone may seal it."""

    def __init__(self, store: Store, pk: str) -> None:
        self.pk = pk
        self._store = store
        self._next = 1
        self._unanswered = False

    def append(self, slot: Slot) -> int:
        """Write one entry and return its slot number.

        Calling again with the same `Slot` after an UnavailableError is right: a slot that was written after all is
        found again, by its token, or, if it was published and deleted meanwhile, by the seal after it.

        Raises:
            SealedError: someone has sealed the stream; the entry is not in it.
            UnavailableError: no answer; the entry may be in or not.
        """
        if not (self._unanswered and self._is_sealed_behind()):
            self._unanswered = True
            there = self._store.put_new(self.pk, self._next, slot)
            if there is not None:
                self._unanswered = False
                if there.kind == SEAL:
                    raise SealedError
                raise RuntimeError(
                    f"{self.pk}: slot {self._next} has an entry of {there.token}; a stream has one writer"
                )
        self._unanswered = False
        self._next += 1
        return self._next - 1

    def _is_sealed_behind(self) -> bool:
        """Tell whether the log ends behind the next slot: then that was written, by an append that got no answer."""
        end = self._store.last(self.pk)
        return end is not None and end[0] > self._next


def seal(store: Store, pk: str, owner: str) -> int:
    """Seal a log at its end and return the slot number of the seal; whose seal it is does not matter."""
    token = new_token(owner)
    end = store.last(pk)
    number, kind = (end[0], end[1].kind) if end else (0, "")
    while kind != SEAL:
        number += 1
        there = store.put_new(pk, number, Slot(SEAL, token))
        kind = there.kind if there else SEAL
    return number
