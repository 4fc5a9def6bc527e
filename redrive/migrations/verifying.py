"""Compares a topic with the one that it was copied to, event by event, from what both hold now.

Nothing is taken from the copying but where it has come to: both topics are read anew, side by side, partition by
partition. Each event of the source must be in the target once, in order, with its key, time and headers, and with the
value that the migration makes of it, or in the parking topic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import cast

from confluent_kafka import TIMESTAMP_CREATE_TIME, Message

from redrive.columnar.records import Record
from redrive.errors import UnknownTopicError
from redrive.events import headers_of
from redrive.migrations.pairing import ColumnPairs, Copies, Originals, Pair, Together
from redrive.migrations.source import event_of
from redrive.migrations.unit import Unit, origin_of, source_offset, way
from redrive.pump.names import MIGRATION_HEADER, PARKING_TOPIC
from redrive.pump.partition_reading import scan_partition
from redrive.pump.readback import ClientConfig, end_offsets, scan, start_offsets

Compare = Callable[[Sequence[Pair]], Sequence[str]]
"""Says of each pair what is wrong with it. Empty: the target's value is what the migration makes of the source's; or it
is None, and a rule leaves the event out."""

_MOST_FINDINGS = 20
_BATCH = 1_000


@dataclass(slots=True)
class Checked:
    """What the two topics hold, of one partition.

    Attributes:
        unit: which.
        events: events of the source that were looked at.
        found: those that are in the target.
        parked: those that are in the parking topic.
        left_out: those that a rule leaves out.
        compacted: those whose key has a newer event in the target, which compaction has left alone there.
        expired: those from before the first copy that the target still has: its retention has deleted the others.
        gone: events of the target that the source no longer has.
        compared: events whose values were compared.
        foreign: offset in the target of the first event that has not come this way; None: there is none.
        findings: what is wrong; the first 20.
        seconds: how long it took.
    """

    unit: Unit
    events: int = 0
    found: int = 0
    parked: int = 0
    left_out: int = 0
    compacted: int = 0
    expired: int = 0
    gone: int = 0
    compared: int = 0
    foreign: int | None = None
    findings: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def and_then(self, later: Checked) -> Checked:
        """Add what was found of what came later to this; but not who has published to the target since: see there."""
        return replace(
            later,
            events=self.events + later.events,
            found=self.found + later.found,
            parked=self.parked + later.parked,
            left_out=self.left_out + later.left_out,
            compacted=self.compacted + later.compacted,
            expired=self.expired + later.expired,
            gone=self.gone + later.gone,
            compared=self.compared + later.compared,
            foreign=self.foreign,
            findings=[*self.findings, *later.findings],
            seconds=self.seconds + later.seconds,
        )

    @staticmethod
    def of_pieces(pieces: Sequence[Checked]) -> Checked:
        """Put together what was found of a partition's pieces, which were compared side by side."""
        whole = reduce(Checked.and_then, pieces)
        foreign = next((piece.foreign for piece in pieces if piece.foreign is not None), None)
        return replace(whole, foreign=foreign, findings=whole.findings[:_MOST_FINDINGS])

    def find(self, finding: str) -> None:
        """Add a finding, while there are not too many."""
        if len(self.findings) < _MOST_FINDINGS:
            self.findings.append(finding)


@dataclass(frozen=True, slots=True)
class Compacts:
    """Which of the two topics are compacted."""

    source: bool = False
    target: bool = False


def verify(
    client_config: ClientConfig,
    unit: Unit,
    upto: int,
    *,
    parked: frozenset[int],
    compare: Compare,
    every: int = 1,
    since: tuple[int, int] = (0, 0),
    follows: bool = False,
    until: int | None = None,
    compacts: Compacts = Compacts(),
    check: Callable[[], None] = lambda: None,
) -> Checked:
    """Compare one partition, or a piece of it.

    Args:
        client_config: the cluster.
        unit: which partition.
        upto: how far the source has been copied.
        parked: offsets of the source whose events are in the parking topic (`parked_offsets`).
        compare: compares values.
        every: of how many events one is compared by value; 1: all.
        since: where to begin, in the source and in the target.
        follows: of a piece, whether there is another before it: then no copy from ``since`` on is of an earlier event.
        until: where the next piece begins in the target; None: there is none.
        compacts: what is compacted may lack what has a newer event.
        check: called now and then; what it raises ends the comparison.

    Raises:
        UnknownTopicError: one of them is gone.
        UnavailableError: the cluster does not answer.
    """
    began = time.monotonic()
    result = Checked(unit)
    comparison, together = Comparison(result, compare, every), Together(unit)
    at_once = not compacts.target  # of which each event is looked at
    copies = _copies(client_config, unit, (since[0], upto), (since[1], until), result, follows=follows, columns=at_once)
    # Asked after the first copy was read: what is deleted later was there.
    cut = start_offsets(client_config, unit.target)[unit.partition] > since[1]
    expired_before = (upto if copies.head is None else copies.offset) if cut else -1
    compacted = _Compacted()
    stray = -1
    originals = _originals(client_config, unit, (since[0], upto), check, columns=at_once)

    def missing(event: Message | Record, offset: int) -> None:
        if offset in parked:
            result.parked += 1
        elif offset < expired_before:
            result.expired += 1
        elif compacts.target and event.key() is not None:
            compacted.absent(event)
        else:
            comparison.absent(event)

    while (event := originals.head) is not None:
        offset = cast(int, event.offset())
        while copies.head is not None and copies.offset < offset:
            stray = _has_gone(result, copies)
        if (copy := copies.head) is not None and copies.offset == offset:
            if at_once and (pairs := together.take(originals, copies)) is not None:
                comparison.add_all(pairs)
                result.events += len(pairs)
                continue
            if compacts.target:
                compacted.found(event)
            comparison.add(event, copy)
            copies.advance()
        else:
            missing(event, offset)
        result.events += 1
        originals.advance()
    while copies.head is not None:
        stray = _has_gone(result, copies)
    left = compacted.left(client_config, result)
    if left:
        span = min(left), max(left) + 1
        _look_for(left, _originals(client_config, unit, span, check, columns=False), comparison)
    result.compacted += len(left)  # the source has newer events of their keys by now
    comparison.finish()
    # Asked last: what retention has deleted meanwhile was there before.
    if stray >= start_offsets(client_config, unit.source)[unit.partition] and not compacts.source:
        result.find(f"{unit.target} has an event that says it is {unit}@{stray}, which is not there")
    result.seconds = time.monotonic() - began
    return result


def parked_offsets(
    client_config: ClientConfig, cluster: str, source: str, target: str, *, migration: str
) -> dict[int, frozenset[int]]:
    """Say which offsets of the source a migration has put in the parking topic, by partition.

    Not what another has put there, which was given up: that says nothing of what this one had to do. Events that were
    parked before this was noted count as well.

    Raises:
        UnavailableError: the cluster does not answer.
    """
    found: dict[int, set[int]] = {}
    prefix = f"{way(cluster, source, target)}/".encode()
    try:
        for messages in scan(client_config, PARKING_TOPIC):
            for message in messages:
                origin = origin_of(message)
                if origin is not None and origin.startswith(prefix) and _parked_by(message) in {None, migration}:
                    partition, _, offset, _ = origin[len(prefix) :].split(b"/")
                    found.setdefault(int(partition), set()).add(int(offset))
    except UnknownTopicError:
        return {}
    return {partition: frozenset(offsets) for partition, offsets in found.items()}


def _parked_by(message: Message) -> str | None:
    digest = dict(headers_of(message)).get(MIGRATION_HEADER)
    return None if digest is None else digest.decode()


class Comparison:
    """Compares events with their copies, values by the batch.

    Args:
        result: takes what is wrong.
        compare: compares values.
        every: of how many events one is compared by value; 1: all.
    """

    def __init__(self, result: Checked, compare: Compare, every: int) -> None:
        self._result, self._compare, self._every = result, compare, every
        self._pairs: list[Pair] = []
        self._places: list[int] = []
        self._absent: list[Pair] = []
        self._absences: list[int] = []

    def add(self, event: Message | Record, copy: Message | Record) -> None:
        """Compare an event with its copy; its value a little later."""
        result = self._result
        offset = cast(int, event.offset())
        expected = event_of(event, result.unit)
        if copy.key() != expected.key:
            result.find(f"{result.unit}@{offset}: its copy has another key")
        kind, when = copy.timestamp()
        if kind == TIMESTAMP_CREATE_TIME and when != expected.timestamp:
            result.find(f"{result.unit}@{offset}: its copy has another time")
        if headers_of(copy)[:-2] != expected.headers:
            result.find(f"{result.unit}@{offset}: its copy has other headers")
        result.found += 1
        if result.found % self._every == 0:
            self._pairs.append((expected, copy.value()))
            self._places.append(offset)
            if len(self._pairs) >= _BATCH:
                self.finish()

    def add_all(self, pairs: ColumnPairs) -> None:
        """Compare the values of events with those of their copies, of which all else was compared."""
        result, every = self._result, self._every
        chosen = pairs[(-result.found - 1) % every :: every]
        result.found += len(pairs)
        for place, wrong in enumerate(self._compare(chosen)):
            if wrong:
                result.find(f"{result.unit}@{chosen.events.offsets[place]}: {wrong}")
        result.compared += len(chosen)

    def absent(self, event: Message | Record) -> None:
        """Take note of an event that is in neither topic: only a rule may have left it out."""
        if event.value() is None:
            self._lost(cast(int, event.offset()))
            return
        self._absent.append((event_of(event, self._result.unit), None))
        self._absences.append(cast(int, event.offset()))
        if len(self._absent) >= _BATCH:
            self.finish()

    def finish(self) -> None:
        """Compare what is left."""
        result = self._result
        if self._pairs:
            for offset, wrong in zip(self._places, self._compare(self._pairs), strict=True):
                if wrong:
                    result.find(f"{result.unit}@{offset}: {wrong}")
            result.compared += len(self._pairs)
            self._pairs, self._places = [], []
        if self._absent:
            for offset, wrong in zip(self._absences, self._compare(self._absent), strict=True):
                if wrong:
                    self._lost(offset)
                else:
                    result.left_out += 1
            self._absent, self._absences = [], []

    def _lost(self, offset: int) -> None:
        unit = self._result.unit
        self._result.find(f"{unit}@{offset} is neither in {unit.target} nor in {PARKING_TOPIC}")


class _Compacted:
    """Events that the compacted target lacks, and which of them it may lack."""

    def __init__(self) -> None:
        self._missing: dict[bytes, list[int]] = {}
        self._deletions: dict[bytes, int] = {}
        self._superseded = 0

    def found(self, event: Message | Record) -> None:
        """Hear of an event that is there: older ones of its key need not be."""
        key = event.key() or b""
        self._superseded += len(self._missing.pop(key, ()))
        self._deletions.pop(key, None)

    def absent(self, event: Message | Record) -> None:
        """Hear of an event that is not there."""
        key, offset = event.key() or b"", cast(int, event.offset())
        self._missing.setdefault(key, []).append(offset)
        if event.value() is None:
            self._deletions[key] = offset

    def left(self, client_config: ClientConfig, result: Checked) -> set[int]:
        """Give the offsets of those that compaction can't have taken away: only a rule may have left them out.

        Compaction takes a deletion away in the end, but never before what that has deleted. An event that others have
        published to the target may be newer as well.
        """
        unit, missing = result.unit, self._missing
        for key in _keys_of_others(client_config, result) if missing and result.foreign is not None else ():
            self._superseded += len(missing.pop(key, ()))
            self._deletions.pop(key, None)
        gone = set(self._deletions)
        if gone:
            end = {unit.partition: end_offsets(client_config, unit.target)[unit.partition]}
            for messages in scan(client_config, unit.target, end=end):
                gone -= {message.key() for message in messages}
        result.compacted = self._superseded
        for key in gone:
            later = [offset for offset in missing[key] if offset > self._deletions[key]]
            result.compacted += len(missing[key]) - len(later)
            missing[key] = later
        return {offset for offsets in missing.values() for offset in offsets}


def _keys_of_others(client_config: ClientConfig, result: Checked) -> Iterator[bytes]:
    """Yield the keys of what has not come this way to the target."""
    unit = result.unit
    begin, end = cast(int, result.foreign), end_offsets(client_config, unit.target)[unit.partition]
    for messages in scan(client_config, unit.target, {unit.partition: begin}, end={unit.partition: end}):
        for message in messages:
            origin = origin_of(message)
            if origin is None or source_offset(origin, unit.name) is None:
                yield message.key() or b""


def _originals(
    client_config: ClientConfig, unit: Unit, offsets: tuple[int, int], check: Callable[[], None], *, columns: bool
) -> Originals:
    blocks = scan_partition(client_config, unit.source, unit.partition, *offsets, back=unit.back, columns=columns)
    return Originals(blocks, unit, check)


def _look_for(left: set[int], originals: Originals, comparison: Comparison) -> None:
    """Take note of events that are in neither topic, and take the offsets of those that are found out of ``left``."""
    while (event := originals.head) is not None:
        if event.offset() in left:
            left.discard(cast(int, event.offset()))
            comparison.absent(event)
        originals.advance()


def _copies(
    client_config: ClientConfig,
    unit: Unit,
    offsets: tuple[int, int],
    places: tuple[int, int | None],
    result: Checked,
    *,
    follows: bool,
    columns: bool,
) -> Copies:
    """Read the copies that are in the target from the first place on, up to the second one; None: its end."""
    begin, until = places
    end = end_offsets(client_config, unit.target)[unit.partition] if until is None else until
    blocks = scan_partition(client_config, unit.target, unit.partition, begin, end, columns=columns)
    return Copies(blocks, unit, offsets, ends=until is not None, follows=follows, result=result)


def _has_gone(result: Checked, copies: Copies) -> int:
    """Take note of a copy whose original is not there: deleted by retention or compaction, or there never was one."""
    result.gone += 1
    offset = copies.offset
    copies.advance()
    return offset
