"""The intakes of all clusters that a consumer reads from, as one."""

from __future__ import annotations

from collections.abc import Iterable

from redrive.consuming.intake import Intake
from redrive.consuming.taken import Taken
from redrive.errors import RedriveError


class Intakes:
    """Takes messages of all clusters in turn. Not for several threads."""

    def __init__(self, intakes: Iterable[Intake]) -> None:
        self._intakes = list(intakes)

    @property
    def is_alone(self) -> bool:
        """Whether there is one cluster only: then nobody is kept waiting by what that one takes to answer."""
        return len(self._intakes) == 1

    @property
    def losses(self) -> int:
        """How many partitions have been taken away so far."""
        return sum(intake.losses for intake in self._intakes)

    def fetch(self, limit: int, wait: float) -> list[Taken]:
        """Take what there is, of all clusters; wait at most ``wait`` seconds for the first message.

        Raises: as `Intake.fetch`; what was fetched of other clusters is put back.
        """
        fetched: list[Taken] = []
        try:
            for intake in self._intakes:
                room = limit - len(fetched)
                if room > 0:
                    fetched += intake.fetch(room, 0.0 if fetched else wait / len(self._intakes))
        except BaseException:
            put_back(fetched)
            raise
        self._intakes.append(self._intakes.pop(0))  # so that none is always the last
        return fetched

    def commit(self, *, wait: bool) -> None:
        """Commit what is done, on each cluster, whatever becomes of it on another one.

        Raises: as `Intake.commit`, for the first cluster that it fails on.
        """
        trouble: RedriveError | None = None
        for intake in self._intakes:
            try:
                intake.commit(wait=wait)
            except RedriveError as error:  # of this cluster; the others' events are no less handled
                trouble = trouble or error
        if trouble is not None:
            raise trouble

    def close(self) -> None:
        """Commit what is done and leave the group."""
        for intake in self._intakes:
            intake.close()


def put_back(messages: Iterable[Taken]) -> None:
    """Put back messages that are not to be handled now, unless they come again anyway."""
    for taken in messages:
        taken.intake.put_back(taken)
