"""Says where the copying of each partition ends: at the source's end as of now, or as of some time to come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from redrive.errors import PartitionsChangedError
from redrive.pump.readback import ClientConfig, end_offsets, partition_count

_LOOK_EVERY = 5.0


class Ends:
    """Asked by all units of a run, each time that they have read something. Safe for threads.

    Args:
        client_config: the cluster.
        source: the topic that is copied.
        partitions: how many it has.
        follow: seconds from now for which what comes is copied as well.
        clock: seconds; for tests.
    """

    def __init__(
        self,
        client_config: ClientConfig,
        source: str,
        partitions: int,
        *,
        follow: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._source, self._partitions = client_config, source, partitions
        self._clock = clock
        self._until = clock() + follow
        self._looked_at = clock()
        self._answered_at: float | None = None
        self._ends: list[int] | None = None
        self._latest: list[int] | None = None
        self._asking = threading.Lock()

    def stop(self) -> None:
        """Follow no longer: the ends are those of now."""
        self._until = self._clock()

    def latest(self, partition: int) -> int | None:
        """Say where a partition ended when that was last looked at; None: it was not yet. Asks nobody."""
        ends = self._ends or self._latest
        return None if ends is None else ends[partition]

    @property
    def answered_at(self) -> float | None:
        """When the cluster was asked last of what it has answered, by the clock; None: it was not yet."""
        return self._answered_at

    def of(self, partition: int) -> int | None:
        """Say where a partition's copying ends; None while it goes on.

        Raises:
            PartitionsChangedError: the source has got more partitions.
            UnavailableError: the cluster does not answer.
        """
        if self._ends is None or self._is_time():
            with self._asking:
                self._look()
        return None if self._ends is None else self._ends[partition]

    def _is_time(self) -> bool:
        return self._clock() - self._looked_at >= _LOOK_EVERY

    def _look(self) -> None:
        now = self._clock()
        if self._ends is not None:
            if self._is_time():  # another thread may have looked meanwhile
                self._looked_at = now
                self._check(partition_count(self._client, self._source), now)
        elif now >= self._until:
            ends = end_offsets(self._client, self._source)
            self._check(len(ends), now)
            self._ends = ends
        elif self._is_time():
            self._looked_at = now
            self._latest = end_offsets(self._client, self._source)
            self._check(len(self._latest), now)

    def _check(self, partitions: int, asked_at: float) -> None:
        self._answered_at = asked_at
        if partitions != self._partitions:
            raise PartitionsChangedError(self._source, self._partitions, partitions)
