"""From what was found to status, verdict and word: the same for all jobs that move events through the pump."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from redrive.ledger import Status, Verdict
from redrive.pump.proof import Proof
from tasks.ending import Word
from tasks.pace import Change


class End(Protocol):
    """How the work at one unit has ended."""

    @property
    def how(self) -> str:
        """``paused``, ``stopped``, ``taken over``, ``failed``, or a job's word for: done."""
        ...


E = TypeVar("E", bound=End)


class Judged(Generic[E]):
    """The end of a run of the pump.

    Attributes:
        ends: how each unit has ended.
        unverified: why there was no read-back, if there was none.
        started_pace: the pace that the run began with.
        changes: what was set in mid-run.
    """

    __slots__ = ()

    UNIT: ClassVar[str] = "events/s"
    """Of the run's pace."""

    ends: Sequence[E]
    unverified: str
    started_pace: str
    changes: Sequence[Change]

    @property
    def all_proofs(self) -> list[Proof]:
        """Everything that was read back, of this run and of earlier ones."""
        raise NotImplementedError

    @property
    def findings(self) -> list[str]:
        """What is wrong, from the evidence."""
        raise NotImplementedError

    @property
    def pace(self) -> str:
        """The pace in words, from the first to the last."""
        return ", then ".join([self.started_pace, *(change.pace.told(self.UNIT) for change in self.changes)])

    def pace_evidence(self) -> dict[str, Any]:
        """Give the run's pace, for the ledger."""
        changes = [{"at": change.at, **change.pace.model_dump()} for change in self.changes]
        return {"pace": self.started_pace, "pace_changes": changes}

    @property
    def unfinished(self) -> list[E]:
        """The units that are not done, though nothing is wrong with them."""
        return [end for end in self.ends if end.how in ("paused", "stopped", "taken over")]

    @property
    def pending(self) -> bool:
        """Whether something is left for a later run."""
        return bool(self.unfinished)

    @property
    def status(self) -> Status:
        """The operation's status."""
        if self.findings or self.unverified or any(end.how == "taken over" for end in self.ends):
            return "failed"
        return "paused" if self.pending else "done"

    @property
    def verdict(self) -> Verdict | None:
        """The operation's verdict; None if it did not come to one."""
        if self.findings:
            return "failed"
        if self.status != "done":
            return None
        return "proved" if all(proof.verdict == "proved" for proof in self.all_proofs) else "counted"

    @property
    def word(self) -> Word:
        """The end in one word."""
        return self.verdict or ("paused" if self.status == "paused" else "failed")
