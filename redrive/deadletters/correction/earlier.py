"""What earlier operations have made of letters and not entered, since they were killed, or Kafka was away, before that.

Their letters look open, and are not: whoever took them up again would publish them twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial

from redrive.config import Config
from redrive.deadletters.correction.batch import Unit
from redrive.deadletters.correction.settling import checkpoints, settle, unsettled
from redrive.deadletters.correction.source import passed
from redrive.deadletters.fate import ENDED, FATES, NONE, OPEN, WAITING, Fate
from redrive.deadletters.letter_id import LetterId
from redrive.deadletters.selection import Selection
from redrive.errors import StalePlanError, UnknownOperationError
from redrive.ledger import Ledger, Operation
from redrive.ledger.letter_writes import Partition
from redrive.ledger.letters import PAGE
from redrive.pump.checkpoint import Checkpoint
from redrive.pump.proof import Proof

_GOOD = ("proved", "counted")
NOT_READ_BACK = "not-read-back"
"""The reason of doubtful letters."""

_Take = Callable[[Sequence[Fate]], int]
_Offsets = defaultdict[tuple[str | None, str, int], set[int]]


@dataclass(slots=True)
class Earlier:
    """What was found.

    Attributes:
        saved: the units' checkpoints.
        proofs: operation → what a read-back has found of its work that it had not entered; not if all that is wrong is
            known, since others have entered it: what is missing is doubtful.
        letters: the letters in question, if that was not entered now either.
        unknown: how many of them the ledger does not have: it was lost, or is an old one, and they have gone since.
    """

    saved: dict[str, bytes] = field(default_factory=dict)
    proofs: dict[str, Proof] = field(default_factory=dict)
    letters: set[LetterId] = field(default_factory=set)
    unknown: int = 0

    def add(self, fates: Sequence[Fate]) -> int:
        """Note letters that are not to be taken for open ones; gives how many there are."""
        self.letters.update(fate.letter for fate in fates)
        return len(fates)


def settle_earlier(
    config: Config, ledger: Ledger, units: Sequence[Unit], operation: Operation, *, record: bool
) -> Earlier:
    """Find out what became of letters whose correction nobody has entered. To be repeated at any time.

    Args:
        config: the platform.
        ledger: the ledger.
        units: where to look.
        operation: the one that looks; its own work is no earlier one.
        record: enter it. Else it is only looked at.

    Raises:
        StalePlanError: another operation has gone on with what this one had begun.
        UnavailableError: Kafka or the ledger does not answer.
    """
    found = Earlier()
    written = ledger.letters.written_by(operation.id)
    for cluster in sorted({unit.cluster for unit in units}):
        here = [unit for unit in units if unit.cluster == cluster]
        client = config.cluster(cluster).client_config()
        saved = checkpoints(client, here)
        found.saved |= saved
        _refuse_lost_cursors(here, saved, written, operation.id)
        for of, evidence in unsettled(saved, partial(_is_settled, ledger, operation)).items():
            take = partial(ledger.letters.record_fates, operation, of=of) if record else found.add
            read_back: _Offsets = defaultdict(set)
            new: list[int] = []

            def note(
                fates: Sequence[Fate], take: _Take = take, read_back: _Offsets = read_back, new: list[int] = new
            ) -> None:
                for fate in fates:
                    read_back[fate.letter[:3]].add(fate.letter.offset)
                known = ledger.letters.known(fate.letter for fate in fates)
                found.unknown += len(fates) - len(known)
                new.append(take([fate for fate in fates if fate.letter in known]))

            proof = settle(client, here, evidence, operation=of, record_fates=note)
            for unit in here:
                if unit.name in evidence:
                    there = read_back[unit.cluster, unit.topic, unit.partition]
                    doubtful = _doubtful(ledger, unit, Checkpoint.of_any(saved[unit.name]), there)
                    for page in range(0, len(doubtful), PAGE):
                        new.append(take(doubtful[page : page + PAGE]))
            if sum(new) or not proof.lacks_only:
                found.proofs[of] = proof
            # Else whoever has entered what is missing as doubtful has said so: no later run has failed for that.
    return found


def _doubtful(ledger: Ledger, unit: Unit, saved: Checkpoint, there: Set[int]) -> list[Fate]:
    """Find the letters of a partition that an operation may have written something of that can't be read back any more.

    Kafka may have deleted it: corrected events bear the times of their events, and retention goes by those.

    Args:
        ledger: the ledger.
        unit: whose partition.
        saved: the operation's checkpoint.
        there: the letters of which something was read back.
    """
    of, written = saved.operation, sum(each.count for each in saved.topics.values())
    given = ledger.letters.given_by(of, (unit.cluster, unit.topic, unit.partition))
    if len(there | {offset for offset, is_written in given.items() if is_written}) >= written:
        return []
    upto, meant = passed(saved), _meant(ledger, of, unit)
    return [
        Fate(LetterId(unit.cluster, unit.topic, unit.partition, offset), "doubtful", NOT_READ_BACK)
        for offset in sorted(meant)
        if offset < upto and offset not in there and offset not in given
    ]


def _meant(ledger: Ledger, of: str, unit: Unit) -> set[int]:
    """Give the letters of a unit's partition that an operation may have taken and that have not ended by now.

    By its plan, if that is known. They are those of the whole partition: whoever works at some of it puts its cursor in
    the place of the only one that tells of the others.
    """
    try:
        plan = ledger.operation(of).plan or {}
    except UnknownOperationError:
        plan = {}
    if "selection" in plan:
        planned, upto = Selection.model_validate(plan["selection"]), plan["upto"]
        # It takes none that were given up, or wait for a person, without being told to.
        told = planned.fates or [*FATES]
    else:
        planned, upto, told = Selection(), ledger.letters.last_entry(), [*WAITING]
    fates = [fate for fate in (NONE, *FATES) if fate not in ENDED and (fate in OPEN or fate in told)]
    here = {"fates": fates, "clusters": [unit.cluster], "dead_letter_topics": [unit.topic]}
    letters = ledger.letters.subjects(planned.model_copy(update=here), upto=upto, also_of=of)
    here_in = unit.topic, unit.partition  # a topic's name selects those that were made anew under it, too
    return {letter.offset for letter in letters if (letter.topic, letter.partition) == here_in}


def _refuse_lost_cursors(
    units: Sequence[Unit], saved: Mapping[str, bytes], written: Set[Partition], operation: str
) -> None:
    """Refuse to go on where an operation had written letters, and another one has put its cursor in the place of its.

    From the beginning, it would write them again.
    """
    for unit in units:
        of = Checkpoint.of_any(saved[unit.name]).operation if unit.name in saved else "unknown"
        if of != operation and (unit.cluster, unit.topic, unit.partition) in written:
            raise StalePlanError(f"operation {of} has gone on with {unit}")


def _is_settled(ledger: Ledger, operation: Operation, of: str) -> bool:
    """Say whether all that an operation has done is entered: only its own verdict, without findings, says so.

    One that failed in one partition has a verdict, too; and another operation may have entered some of it.
    """
    if of == operation.id:
        return True
    try:
        return ledger.operation(of).verdict in _GOOD
    except UnknownOperationError:
        return False
