"""The pump's source of a correction: the letters of one partition, judged as they are read.

What stays where it is, held or skipped, is recorded before the chunk is handed on: when the cursor has passed a letter,
its fate is in the ledger, or can be read back from Kafka.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from redrive.deadletters.correction.batch import STREAM, Unit
from redrive.deadletters.correction.copies import ONLY_CORRECTED, read_copies
from redrive.deadletters.correction.diverted import DIVERTED
from redrive.deadletters.correction.doubles import SAME_EVENT
from redrive.deadletters.correction.order_guard import CORRECTED, NEWER_EVENT, OrderGuard, Policy, Turn
from redrive.deadletters.dialects import Record
from redrive.deadletters.fate import Fate, FateName
from redrive.deadletters.judging.judge import Decision, Judging, Piece
from redrive.deadletters.letter_id import LetterId
from redrive.deadletters.reading import read_records
from redrive.errors import UnknownTopicError
from redrive.events import Event
from redrive.pump.checkpoint import Checkpoint
from redrive.pump.model import Chunk, Skipped
from redrive.pump.readback import ClientConfig, end_offsets

_PIECE = 1_000  # letters between two cursors
_PIECE_BYTES = 1 << 20  # of their values
GONE = "gone"
"""The reason of letters that their topic no longer has: deleted by its retention, or by somebody."""

REASONS = {
    GONE: "deleted from its topic, by retention or by somebody",
    ONLY_CORRECTED: "deleted from its topic; what a correction had made of it, and Kafka has refused, is in the "
    "parking topic, where redrive dlq fix finds it",
}

_COPIES = 200  # letters whose copies are read at once

LEFT = "left: "
"""How the reasons begin, among the pump's, of letters that stay open with no fate."""


class Cursor(msgspec.Struct, array_like=True, frozen=True):
    """How far an operation has come in a partition; another operation begins anew."""

    operation: str
    next: int


def passed(checkpoint: Checkpoint) -> int:
    """Say up to where an operation has come in a unit: the first offset that is left."""
    cursor = None if checkpoint.source is None else msgspec.msgpack.decode(checkpoint.source, type=Cursor)
    return cursor.next if cursor is not None and cursor.operation == checkpoint.operation else 0


class LetterSource:
    """Yields what is made of the letters of one unit.

    Args:
        client_config: the unit's cluster.
        unit: which letters.
        judge: says what becomes of each.
        guard: says which are overtaken.
        policy: what becomes of those.
        operation: id of the operation.
        record_fates: records what stays where it is. To be repeated after a crash.
        share: says how many letters may go at once.
    """

    def __init__(
        self,
        client_config: ClientConfig,
        unit: Unit,
        judge: Judging,
        guard: OrderGuard,
        policy: Policy,
        *,
        operation: str,
        record_fates: Callable[[Sequence[Fate]], object],
        share: Callable[[], float] = lambda: float("inf"),
    ) -> None:
        self._client = client_config
        self._unit = unit
        self._judge, self._guard, self._policy = judge, guard, policy
        self._operation = operation
        self._origins = origins(unit)
        self._record_fates = record_fates
        self._share = share
        self._turn = Turn(guard.passed, guard.time_of)
        self._apart = unit.doubles | dict.fromkeys(guard.corrected(unit.name), CORRECTED)
        self._looks = guard.looks

    def chunks(self, cursor: bytes | None) -> Iterator[Chunk]:
        """Yield what comes after the cursor, a batch of records at a time."""
        since = 0
        if cursor is not None:
            before = msgspec.msgpack.decode(cursor, type=Cursor)
            since = before.next if before.operation == self._operation else 0
        self._turn = Turn(self._guard.passed, self._guard.time_of)
        # Of what this operation has published before, only Kafka knows.
        if (since or self._unit.follows) and self._policy != "publish":
            self._guard.look_again(if_older_than=0.0)
        letters = read_letters(self._client, self._unit, since)
        for piece, decisions in self._judge.judged(_pieces(letters, self._share), self._origins):
            yield self._chunk(piece, decisions)

    def committed(self, cursor: bytes) -> None:
        """Nothing is to be deleted: dead-letter topics keep what they have."""

    def overtaken_meanwhile(self, events: Sequence[Event]) -> dict[int, Skipped]:
        """Look again before events are published, and say by index which are not to be.

        Newer ones have come, or older ones wait in the standby store. Letters may have been judged long ago: a run can
        be paused for a night.

        Raises:
            UnavailableError: Kafka, the standby table or the ledger does not answer.
        """
        guard, policy = self._guard, self._policy
        if policy == "publish":
            guard.look_at_lanes()
        else:
            guard.look_again()
        if guard.looks == self._looks:
            return {}
        left = {index: Skipped(LEFT + DIVERTED) for index, event in enumerate(events) if guard.diverted(event)}
        if policy == "publish":
            return left
        fate: FateName = "held" if policy == "hold" else "skipped"
        late = [index for index, event in enumerate(events) if index not in left and guard.passed(event)]
        if late:
            offsets = [int(events[index].origin.rsplit("/", 2)[1]) for index in late]
            self._record_fates([self._fate(offset, fate, NEWER_EVENT) for offset in offsets])
        return left | dict.fromkeys(late, Skipped(f"{fate}: {NEWER_EVENT}"))

    def _chunk(self, piece: Piece, decisions: Iterable[Decision]) -> Chunk:
        events: list[Event] = []
        fates: list[Fate] = []
        passed: Counter[str] = Counter()
        last = -1
        decided = iter(decisions)
        for record in piece:
            if isinstance(record, int):
                last = record
                if last in self._unit.only_corrected:
                    passed[LEFT + ONLY_CORRECTED] += 1
                    continue
                passed[f"skipped: {GONE}"] += 1
                fates.append(self._fate(record, "skipped", GONE))
                continue
            last = record.offset
            decision = next(decided)
            event = decision.event
            if last in self._apart:
                if (reason := self._apart[last]) == SAME_EVENT:
                    passed[f"skipped: {reason}"] += 1
                    fates.append(self._fate(last, "skipped", reason))
                else:
                    passed[LEFT + reason] += 1
                continue
            if event is not None and self._guard.diverted(event):
                passed[LEFT + DIVERTED] += 1
                continue
            fate = self._stays(decision)
            if fate is not None:
                reason = decision.reason or NEWER_EVENT
                passed[f"{fate}: {reason}"] += 1
                fates.append(self._fate(last, fate, reason, decision.rules if decision.kind == "skip" else ()))
            elif event is not None:
                if decision.kind == "publish":
                    event.partition = self._guard.partition(event)
                events.append(event)
            else:
                passed[LEFT + decision.reason] += 1
        if fates:
            self._record_fates(fates)
        return Chunk(events, msgspec.msgpack.encode(Cursor(self._operation, last + 1)), dict(passed) or None)

    def _stays(self, decision: Decision) -> FateName | None:
        """Say which fate a letter gets that goes nowhere; None for one that goes to Kafka, and one that is left."""
        if decision.kind == "skip":
            return "skipped"
        if decision.kind != "publish" or self._policy == "publish" or decision.event is None:
            return None
        if self._turn.overtaken(decision.event):
            return "held" if self._policy == "hold" else "skipped"
        return None

    def _fate(self, offset: int, name: FateName, reason: str, rules: tuple[str, ...] = ()) -> Fate:
        return Fate(LetterId(self._unit.cluster, self._unit.topic, self._unit.partition, offset), name, reason, rules)


def _pieces(letters: Iterable[Record | int], share: Callable[[], float]) -> Iterator[Piece]:
    piece: list[Record | int] = []
    size, most = 0, _most(share)
    for letter in letters:
        piece.append(letter)
        if type(letter) is Record and letter.value is not None:
            size += len(letter.value)
        if len(piece) >= most or size >= _PIECE_BYTES:
            yield piece
            piece, size, most = [], 0, _most(share)
    if piece:
        yield piece


def _most(share: Callable[[], float]) -> int:
    return int(max(1, min(_PIECE, share())))


def origins(unit: Unit) -> str:
    """Give how a unit's letters are named, in the manner of `redrive.pump.proof`: ``origins(unit) % offset``."""
    return f"{unit.name}/{STREAM}/%d/0"


def read_letters(client_config: ClientConfig, unit: Unit, since: int = 0) -> Iterator[Record | int]:
    """Yield a unit's letters, in order; the offset alone of one that is gone.

    Raises:
        UnknownTopicError: the topic was deleted just now; the next time, its letters are gone.
        UnavailableError: the cluster does not answer.
    """
    offsets = unit.offsets
    at, count = bisect_left(offsets, since), len(offsets)
    there = _end(client_config, unit)
    for first, end in unit.stretches(since):
        for records in _read(client_config, unit, first, min(end, there)):
            for record in records:
                offset = record.offset
                if at < count and offsets[at] < offset:
                    missing, at = at, bisect_left(offsets, offset, at)
                    yield from _missing(client_config, unit, missing, at)
                if at < count and offsets[at] == offset:
                    if unit.is_letter(at, record.timestamp):
                        yield record
                    else:
                        yield from _missing(client_config, unit, at, at + 1)
                    at += 1
        missing, at = at, bisect_left(offsets, end, at)
        yield from _missing(client_config, unit, missing, at)


def _missing(client_config: ClientConfig, unit: Unit, first: int, end: int) -> Iterator[Record | int]:
    """Yield letters that their topic no longer has, by their indexes: from their copies, if there are any."""
    if not unit.copies:
        yield from unit.offsets[first:end]
        return
    for at in range(first, end, _COPIES):
        some = range(at, min(at + _COPIES, end))
        letters = [LetterId(unit.cluster, unit.topic, unit.partition, unit.offsets[index]) for index in some]
        copies = {
            letter: (unit.copies[letter.offset], unit.written[index])
            for index, letter in zip(some, letters, strict=True)
            if letter.offset in unit.copies
        }
        found = read_copies(client_config, copies) if copies else {}
        for letter in letters:
            yield found.get(letter, letter.offset)


def _read(client_config: ClientConfig, unit: Unit, first: int, end: int) -> Iterator[Iterable[Record]]:
    if first < end:
        at = unit.partition
        yield from read_records(client_config, unit.cluster, unit.topic, {at: first}, {at: end})


def _end(client_config: ClientConfig, unit: Unit) -> int:
    """Say where the partition ends; what lies beyond was in a topic of the same name that is gone."""
    try:
        ends = end_offsets(client_config, unit.kafka_topic)
    except UnknownTopicError:
        return 0
    return ends[unit.partition] if unit.partition < len(ends) else 0
