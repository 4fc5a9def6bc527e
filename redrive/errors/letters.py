"""Dead letters."""

from __future__ import annotations

from redrive.errors.base import RedriveError


class LetterFormatError(RedriveError):
    """A record on a dead-letter topic is not a dead letter as Redrive writes them.

    Attributes:
        reason: what is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"not a dead letter: {reason}")


class LetterIdError(RedriveError, ValueError):
    """A text is not the id of a dead letter.

    Attributes:
        text: the text.
        reason: what is wrong with it.
    """

    def __init__(self, text: str, reason: str) -> None:
        self.text, self.reason = text, reason
        super().__init__(f"letter {text!r} {reason}; write it like dlq.flights/2/4711, or east:dlq.flights/2/4711")


class UnknownLetterError(RedriveError):
    """The ledger has no such dead letter, or has it on more than one cluster.

    Attributes:
        letter: the letter's id.
        clusters: those that have it.
    """

    def __init__(self, letter: str, clusters: tuple[str, ...] = ()) -> None:
        self.letter, self.clusters = letter, clusters
        if clusters:
            super().__init__(f"letter {letter} is on {' and '.join(clusters)}; write {clusters[0]}:{letter}")
        else:
            super().__init__(f"letter {letter} is not in the ledger; `redrive run dlq-triage` enters what is new")


class UncorrectableLetterError(RedriveError):
    """A dead letter can't be corrected as it is asked for.

    Attributes:
        letter: the letter's id.
        reason: why, and what to do instead.
    """

    def __init__(self, letter: str, reason: str) -> None:
        self.letter, self.reason = letter, reason
        super().__init__(f"letter {letter} can't be corrected: {reason}")


class StaleTriageError(RedriveError):
    """Another triage has got further in a partition; nothing of this batch was recorded, and all of it may be there.

    Attributes:
        partition: such as ``local:dlq.flights/2``.
        begin: the offset at which the batch begins; None: at the partition's first triage.
        position: the offset that the ledger has.
    """

    def __init__(self, partition: str, begin: int | None, position: int | None) -> None:
        self.partition, self.begin, self.position = partition, begin, position
        super().__init__(
            f"{partition} is triaged up to {'nowhere' if position is None else position}, and this batch begins at "
            f"{'the first triage' if begin is None else begin}; read the positions again and go on from there"
        )
