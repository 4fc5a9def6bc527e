"""A batch of events while it is gathered, and until it is handled."""

from __future__ import annotations

from redrive.consuming.handling import Handling
from redrive.consuming.intakes import Intakes, put_back
from redrive.consuming.repetitions import Identity, identity
from redrive.consuming.taken import Taken
from redrive.received import ReceivedEvent


class InHand:
    """The messages of a batch: those with an event for the handler, and those that have ended without. Not for threads.

    Args:
        intakes: where they come from.
        handling: what becomes of them.
    """

    def __init__(self, intakes: Intakes, handling: Handling) -> None:
        self._intakes, self._handling = intakes, handling
        self._messages: list[tuple[Taken, ReceivedEvent | None]] = []
        self._identities: set[Identity] = set()
        self._losses = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def events(self) -> list[ReceivedEvent]:
        """Those for the handler."""
        return [event for _, event in self._messages if event is not None]

    def add(self, taken: Taken) -> None:
        """Add a message, unless it comes again, here or elsewhere."""
        event = None if taken.intake.is_dropped(taken) else self._handling.open(taken, self._identities)
        if not taken.intake.is_dropped(taken):
            self._messages.append((taken, event))
            if event is not None:
                self._identities.add(identity(event))

    def drop_lost(self) -> None:
        """Drop what others own now; if it comes here again, it is no duplicate of this."""
        losses = self._intakes.losses
        if losses == self._losses:
            return
        self._losses = losses
        self._messages = [(taken, event) for taken, event in self._messages if taken.intake.is_ours(taken)]
        self._identities = {identity(event) for event in self.events}

    def finish(self) -> None:
        """Let all be committed that is still ours: it has been handled."""
        for taken, event in self._messages:
            if taken.intake.is_ours(taken):
                self._handling.finish(taken, event)
        self.forget()

    def put_back(self) -> None:
        """Have all of it come again."""
        put_back(taken for taken, _ in self._messages)
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._messages = []
        self._identities = set()
