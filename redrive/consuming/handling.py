"""What becomes of each message: an event for the handler, another try, or a dead letter."""

from __future__ import annotations

import random
from collections.abc import Callable, Set

from redrive import telemetry
from redrive.consuming.dead_letters import DeadLetters
from redrive.consuming.opening import Opener, Unreadable
from redrive.consuming.repetitions import Identity, Window, identity
from redrive.consuming.settings import ConsumerSettings
from redrive.consuming.taken import Taken
from redrive.errors import InvalidEventError, UnavailableError
from redrive.received import ReceivedEvent

Handler = Callable[[ReceivedEvent], None]

_NONE: Set[Identity] = frozenset()


class Handling:
    """Ends each message, or puts it back. Not for several threads.

    Args:
        group: the consumer group, for traces.
        settings: how often and when to try again; how many events to remember.
        opener: decodes.
        dead_letters: takes what can't be handled.

    Attributes:
        counts: as `redrive.consumer.EventConsumer` has them.
    """

    def __init__(self, group: str, settings: ConsumerSettings, opener: Opener, dead_letters: DeadLetters) -> None:
        self.counts = {"handled": 0, "duplicates": 0, "dead_lettered": 0, "retried": 0}
        self._group, self._settings = group, settings
        self._opener, self._dead_letters = opener, dead_letters
        self._window = Window(settings.window)
        self._is_traced = telemetry.is_tracing()

    def handle(self, taken: Taken, handler: Handler) -> None:
        """Call a handler with a message's event."""
        if taken.intake.is_dropped(taken):
            return
        event = self.open(taken)
        if event is not None and not self._call(handler, taken, event):
            event = None
        if not taken.intake.is_dropped(taken):
            self.finish(taken, event)

    def open(self, taken: Taken, in_hand: Set[Identity] = _NONE) -> ReceivedEvent | None:
        """Decode a message; None if it has been dead-lettered or put back, or is a duplicate.

        Args:
            taken: the message.
            in_hand: which events are in hand, and will be handled.
        """
        try:
            event = self._opener.open(taken)
        except UnavailableError:
            self._try_again(taken, failed=False)
            return None
        if isinstance(event, Unreadable):
            self._bury(taken, event.reason, event.detail)
            return None
        if self._settings.window and ((which := identity(event)) in self._window or which in in_hand):
            self.counts["duplicates"] += 1
            return None
        return event

    def finish(self, taken: Taken, event: ReceivedEvent | None) -> None:
        """Let a message be committed; an event that was handled shall not be handed over again."""
        taken.intake.done(taken)
        if event is not None:
            self.counts["handled"] += 1
            self._window.add(identity(event))

    def _call(self, handler: Handler, taken: Taken, event: ReceivedEvent) -> bool:
        """Say whether the handler has handled the event; if not, it has been put back or dead-lettered."""
        try:
            if self._is_traced:
                with telemetry.handling(self._group, event.topic):
                    handler(event)
            else:
                handler(event)
            return True
        except UnavailableError:
            self._try_again(taken, failed=False)
        except InvalidEventError as error:
            self._bury(taken, "handler-failed", str(error), error.field)
        except Exception as error:
            if taken.intake.failures(taken) < self._settings.retries:
                self._try_again(taken, failed=True)
            else:
                self._bury(taken, "handler-failed", f"{type(error).__name__}: {error}")
        return False

    def _try_again(self, taken: Taken, *, failed: bool) -> None:
        before = min(taken.intake.pauses(taken), 30)
        longest = min(self._settings.longest_pause, self._settings.pause * 2**before)
        taken.intake.hold(taken, longest * random.uniform(0.5, 1), failed=failed)
        self.counts["retried"] += 1

    def _bury(self, taken: Taken, reason: str, detail: str, field: str = "") -> None:
        if self._dead_letters.put(taken, reason, detail, field):
            self.counts["dead_lettered"] += 1
        else:
            self._try_again(taken, failed=False)
