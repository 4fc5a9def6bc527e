"""Settling: what an operation has made of letters is read back from Kafka, proved, and entered in the ledger.

Each event that a correction writes names the letter that it was made of, and what was done to it. So the fates of an
operation, also of one that was killed, are in Kafka, whether or not anybody has entered them yet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from confluent_kafka import Message

from redrive.deadletters.correction.batch import STREAM, Unit
from redrive.deadletters.fate import Fate
from redrive.deadletters.judging import marks
from redrive.deadletters.letter_id import LetterId
from redrive.events import headers_of
from redrive.pump.checkpoint import Checkpoint
from redrive.pump.cursors import read_cursors
from redrive.pump.evidence import Evidence
from redrive.pump.names import CORRECTION_HEADER, PARKING_TOPIC
from redrive.pump.proof import Mode, Proof, prove
from redrive.pump.readback import ClientConfig

REFUSED = "refused"
"""The reason of letters whose event Kafka does not take: too large, too old, or without a key for a compacted topic."""

_AT_ONCE = 5_000

Evidences = Mapping[str, Mapping[str, Evidence]]
"""Unit → topic → evidence."""


def checkpoints(client_config: ClientConfig, units: Iterable[Unit]) -> dict[str, bytes]:
    """Read the units' checkpoints: unit → checkpoint; units that were never worked at are left out.

    Raises:
        UnavailableError: the cluster does not answer.
    """
    return read_cursors(client_config, (unit.name for unit in units))


def unsettled(
    saved: Mapping[str, bytes], is_settled: Callable[[str], bool]
) -> dict[str, dict[str, Mapping[str, Evidence]]]:
    """Find what earlier operations have done and not entered: operation → unit → topic → evidence.

    Args:
        saved: what `checkpoints` gave.
        is_settled: says of an operation's id whether all that it has done is entered.
    """
    found: defaultdict[str, dict[str, Mapping[str, Evidence]]] = defaultdict(dict)
    for unit, data in saved.items():
        checkpoint = Checkpoint.of_any(data)
        if checkpoint.topics and not is_settled(checkpoint.operation):
            found[checkpoint.operation][unit] = checkpoint.topics
    return dict(found)


def settle(
    client_config: ClientConfig,
    units: Iterable[Unit],
    evidence: Evidences,
    *,
    operation: str,
    record_fates: Callable[[Sequence[Fate]], object],
    mode: Mode = "full",
) -> Proof:
    """Read back what an operation has written, compare it with its evidence, and hand on the fate of each letter.

    To be repeated at any time: it hands on the same fates.

    Args:
        client_config: the cluster.
        units: those in the evidence.
        evidence: by unit and topic.
        operation: the operation's id.
        record_fates: takes them in batches.
        mode: see `redrive.pump.proof.prove`.

    Raises:
        UnavailableError: Kafka or the ledger does not answer.
    """
    by_prefix = {f"{unit.name}/{STREAM}".encode(): unit for unit in units}
    fates: dict[LetterId, Fate] = {}

    def found(message: Message, source: bytes) -> None:
        prefix, offset, _ = source.rsplit(b"/", 2)
        unit = by_prefix[prefix]
        fate = _fate(unit, int(offset), message)
        fates.setdefault(fate.letter, fate)  # one that is there twice is for the proof to find
        if len(fates) >= _AT_ONCE:
            record_fates(list(fates.values()))
            fates.clear()

    proof = prove(client_config, evidence, operation=operation, mode=mode, on_found=found)
    if fates:
        record_fates(list(fates.values()))
    return proof


def _fate(unit: Unit, offset: int, message: Message) -> Fate:
    letter = LetterId(unit.cluster, unit.topic, unit.partition, offset)
    place = (cast(str, message.topic()), cast(int, message.partition()), cast(int, message.offset()))
    mark = marks.Mark()
    for name, value in headers_of(message):
        if name == CORRECTION_HEADER:
            mark = marks.read(value)
    if place[0] == PARKING_TOPIC:
        return Fate(letter, "parked", mark.refused or REFUSED, mark.applied, *place)
    if place[0] == unit.kafka_topic:
        return Fate(letter, "rejected", mark.refused, mark.applied, *place)
    return Fate(letter, "published", "", mark.applied, *place)
