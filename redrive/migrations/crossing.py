"""Where a consumer that stands in one topic goes on in the other, when events have gone from either to the other.

What it has not seen yet begins, in the other topic, at one of two places: at the first copy of an event that is here at
its place or later; or at the first event of the other topic's own producers that was brought here at that place or
later, or not at all yet. It goes on at the earlier of the two: so nothing is missed. Whether it would see something
again is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from redrive.migrations.positions import Positions
from redrive.pump.readback import ClientConfig


class Crossing:
    """From one topic to the other. For one thread.

    Args:
        client_config: the cluster.
        cluster: its name.
        here: the topic where consumers stand.
        there: the topic where they are to go on.
        copied: partition → how far ``here`` has been copied; without those that never were.
        returned: partition → how far ``there`` has been copied to ``here``, likewise.
        check: called now and then; what it raises ends a look.
    """

    def __init__(  # noqa: PLR0917 (two topics, and what has gone from either to the other)
        self,
        client_config: ClientConfig,
        cluster: str,
        here: str,
        there: str,
        copied: Mapping[int, int],
        returned: Mapping[int, int],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._here, self._there = here, there
        self._copied, self._returned = copied, returned
        self._forth = Positions(client_config, cluster, here, there, check)
        self._back = Positions(client_config, cluster, there, here, check)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forth.close()
        self._back.close()

    def renew(self, copied: Mapping[int, int], returned: Mapping[int, int]) -> None:
        """Take note of what has come to either topic since. What was looked at already is not looked at again.

        Raises:
            UnavailableError: the cluster does not answer.
        """
        self._copied, self._returned = copied, returned
        self._forth.renew()
        self._back.renew()

    def first_returned(self, partition: int) -> int | None:
        """Say where the first event is here that was brought back from there; None: none was. It reads all up to that.

        Raises:
            UnavailableError: the cluster does not answer.
        """
        return self._back.first(partition, 0, None)

    def place(self, partition: int, offset: int) -> tuple[int, str]:
        """Say where it goes on that stands at an offset here, and why it must not; empty: it may.

        Raises:
            UnavailableError: the cluster does not answer.
        """
        if not self._forth.has(partition):
            return 0, (
                f"partition {partition}: {self._there} has no such partition, as {self._here} has got more since: what "
                "comes there is not copied. Begin anew, with a target of another name"
            )
        forth = self._forth.in_target(partition, offset)
        bound = self._first_unseen(partition, offset, forth)
        return min(forth, bound), self._obstacle(partition, offset, forth, bound)

    def _first_unseen(self, partition: int, offset: int, forth: int) -> int:
        """Say where, of what others have published there, that begins which has not been seen here."""
        brought = self._back.in_source(partition, offset)
        if brought is not None:
            return brought
        # All before that has been seen; behind it, what has come there from here is no news, and all else is.
        seen = self._returned.get(partition, 0)
        other = self._forth.first_other(partition, seen, forth)
        return max(seen, forth) if other is None else other

    def _obstacle(self, partition: int, offset: int, forth: int, bound: int) -> str:
        copied = self._copied.get(partition)
        at = f"partition {partition}: it is at {offset}"
        if copied is not None and offset > copied:
            return f"{at}, and only what is before {copied} has been copied to {self._there}"
        if copied is None and self._back.first_other(partition, 0, None) is not None:
            # What it has seen of that would be new to it once it has been copied, and what it has not would be missed.
            return (
                f"{at}, and what others have published to {self._here} has never been copied to {self._there}: do that "
                f"first (goal feed_back if {self._here} is the target, else copy)"
            )
        if (low := self._forth.low(partition)) > min(forth, bound):
            return (
                f"{at}, and would go on in {self._there} at {min(forth, bound)}, whose retention has deleted all "
                f"before {low}: have it consume {self._here} further, then move it"
            )
        if self._is_deleted(partition, offset, forth):
            return (
                f"{at}, and the copies of what comes next are no longer in {self._there}, whose retention has deleted "
                f"them: have it consume {self._here} further, then move it"
            )
        low, high = min(forth, bound), max(forth, bound)
        seen = self._forth.first if bound < forth else self._forth.first_other
        if seen(partition, low, high) is not None:
            return (
                f"{at}, and what it has seen and what it has not are mixed in {self._there} from {low} to {high}: let "
                f"the backfill catch up both ways (goals copy and feed_back), have it consume {self._here} to its end, "
                "then move it"
            )
        return ""

    def _is_deleted(self, partition: int, offset: int, forth: int) -> bool:
        """Say whether something lies here, at its place or later, whose copy is no longer there."""
        if forth > self._forth.low(partition) or forth == 0:
            return False
        oldest = self._forth.in_source(partition, forth)
        if oldest is None:
            oldest = self._copied.get(partition, offset)
        return self._back.first_other(partition, offset, oldest) is not None
