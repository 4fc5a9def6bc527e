"""Proof by read-back: what a unit says it published is compared with what consumers will find.

Read committed, from where the topic ended before the unit published anything: every record that names one of the units
as its source must be there once, in the source's order, with the key, value, headers and time that were sent; and
nothing may be missing. That a commit was acknowledged is not taken for an answer.

An event's origin is ``<unit>/<stream>/<slot>/<index>``; slot and index are numbers that rise in the stream. Each key
has its partition, and each partition must hold a stream's events in rising order: so a key's events are in order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Literal, cast

from confluent_kafka import TIMESTAMP_CREATE_TIME, Message

from redrive.envelope import Identity, header, identity
from redrive.errors import UnknownTopicError
from redrive.events import Headers, headers_of
from redrive.pump.evidence import Evidence, evidence, fingerprint, pack
from redrive.pump.names import OPERATION_HEADER, SOURCE_HEADER
from redrive.pump.readback import ClientConfig, end_offsets, offsets_for_time, scan, start_offsets
from redrive.verdict import Verdict

Mode = Literal["full", "counts"]

_MOST_FINDINGS = 50


@dataclass(frozen=True, slots=True)
class Proof:
    """What a read-back has found.

    Attributes:
        verdict: ``proved``: all is there once, in order, unchanged. ``counted``: all is there once and in order, but
            contents were not compared. ``failed``: see the findings.
        findings: what is wrong, each with the record or the unit it is about; the first 50.
        counted: unit → its events that were found.
        read: records that were looked at, of whatever origin.
        seconds: how long that took.
        repeated: of the ids that were in doubt, records beyond the first that were accepted at another time: their
            sender has sent the event again, as it should after no answer. No fault.
        missing: events that are not there; of a compacted topic, they may have been superseded.
        superseded: how many of them were found to be. Then ``counted`` is the best there is.
    """

    verdict: Verdict
    findings: list[str]
    counted: dict[str, int]
    read: int
    seconds: float
    repeated: int = 0
    missing: int = 0
    superseded: int = 0

    @property
    def lacks_only(self) -> bool:
        """Tell whether all that is wrong is that events are missing."""
        return self.missing > 0 and all("events are missing" in finding for finding in self.findings)


def prove(
    client_config: ClientConfig,
    units: Mapping[str, Mapping[str, Evidence]],
    *,
    operation: str = "",
    mode: Mode = "full",
    also_ids: Set[Identity] = frozenset(),
    since_ms: int | None = None,
    on_found: Callable[[Message, bytes], None] | None = None,
) -> Proof:
    """Read the topics of some units back, each topic once, and compare.

    Memory is bounded by the number of streams and partitions, not of events.

    Args:
        client_config: the cluster.
        units: unit → topic → evidence (`Outcome.evidence`).
        operation: only records of this operation count; the one the sinks were made with.
        mode: ``full`` compares contents; ``counts`` only counts, and checks order.
        also_ids: events that were in doubt, by source and id. None of them may be there twice with one time of
            acceptance (``ce_time``), whoever published it: a replay keeps that time, and what is sent again gets
            another one.
        since_ms: where to begin to look for ``also_ids``, as a time; milliseconds since 1970.
        on_found: called with each record of the units, and its origin.

    Raises:
        UnavailableError: the cluster does not answer in time.
    """
    began = time.monotonic()
    findings = _Findings()
    counted = dict.fromkeys(units, 0)
    read = repeated = missing = 0
    for topic in sorted({topic for topics in units.values() for topic in topics}):
        expected = {unit: topics[topic] for unit, topics in units.items() if topic in topics}
        reading = _Reading(
            topic,
            expected,
            operation=operation.encode(),
            full=mode == "full",
            also_ids=also_ids,
            findings=findings,
            on_found=on_found,
        )
        try:
            start = dict(enumerate(_start(client_config, topic, expected.values(), since_ms if also_ids else None)))
            for messages in scan(client_config, topic, start):
                reading.add(messages)
                read += len(messages)
            deleted = _deleted(client_config, topic, expected.values())
        except UnknownTopicError as error:
            deleted = f" ({error})"
        reading.compare(deleted)
        repeated += reading.repeated
        missing += reading.missing
        for unit, found in reading.counts().items():
            counted[unit] += found
    verdict: Verdict = "failed" if findings.all else "proved" if mode == "full" else "counted"
    return Proof(verdict, findings.all, counted, read, time.monotonic() - began, repeated, missing)


def _start(client_config: ClientConfig, topic: str, expected: Iterable[Evidence], since_ms: int | None) -> list[int]:
    starts = [list(e.start) for e in expected]
    if since_ms is not None:
        starts.append(offsets_for_time(client_config, topic, since_ms))
    width = len(end_offsets(client_config, topic))
    # A partition that was added later, and evidence without positions, begin at 0.
    return [min(s[p] if p < len(s) else 0 for s in starts) for p in range(width)]


def _deleted(client_config: ClientConfig, topic: str, expected: Iterable[Evidence]) -> str:
    """Say whether the topic has lost its beginning: the likeliest reason, as events keep their times, old ones too."""
    lows = start_offsets(client_config, topic)
    gone = [p for e in expected for p, start in enumerate(e.start) if p < len(lows) and lows[p] > start]
    if not gone:
        return ""
    low = lows[gone[0]]
    return f" (partition {gone[0]} now begins at offset {low}: see the topic's retention, or who deleted records)"


@dataclass(slots=True)
class _Findings:
    all: list[str] = field(default_factory=list)

    def add(self, finding: str) -> None:
        if len(self.all) < _MOST_FINDINGS:
            self.all.append(finding)


@dataclass(slots=True)
class _Found:
    """What was found of one unit in one topic."""

    count: int = 0
    digest: int = 0
    times: int = 0


@dataclass(slots=True)
class _Stream:
    """Where one stream of a unit stands in one partition."""

    found: _Found
    position: tuple[int, int] = (-1, -1)


class _Reading:
    """Compares one topic's records with the evidence of some units."""

    def __init__(
        self,
        topic: str,
        expected: Mapping[str, Evidence],
        *,
        operation: bytes,
        full: bool,
        also_ids: Set[Identity],
        findings: _Findings,
        on_found: Callable[[Message, bytes], None] | None,
    ) -> None:
        self._topic = topic
        self._on_found = on_found
        self._expected = expected
        self._operation = operation
        self._full = full
        self._ids: dict[Identity, dict[bytes | None, str]] = {event: {} for event in also_ids}
        """Source and id → time of acceptance → the record that has both."""
        self._findings = findings
        self._found = {unit: _Found() for unit in expected}
        self._streams: dict[tuple[int, bytes], _Stream | None] = {}
        self._created = True
        self.repeated = self.missing = 0

    def counts(self) -> dict[str, int]:
        return {unit: found.count for unit, found in self._found.items()}

    def add(self, messages: list[Message]) -> None:
        streams, full, ids, operation = self._streams, self._full, self._ids, self._operation
        on_found = self._on_found
        for message in messages:
            headers = headers_of(message)
            if not headers:
                continue
            if ids:
                self._look_for_ids(headers, message)
            # The sink's two headers are the last ones.
            name, source = headers[-1]
            if name != SOURCE_HEADER or source is None or headers[-2:-1] != [(OPERATION_HEADER, operation)]:
                continue
            try:
                prefix, slot, index = source.rsplit(b"/", 2)
                position = (int(slot), int(index))
            except ValueError:
                self._findings.add(f"{_name(message)} names no position as its source: {source!r}")
                continue
            where = (cast(int, message.partition()), prefix)
            try:
                stream = streams[where]
            except KeyError:
                stream = streams[where] = self._new_stream(prefix)
            if stream is None:
                continue
            found = stream.found
            found.count += 1
            if position > stream.position:
                stream.position = position
            else:
                last = "/".join(map(str, stream.position))
                self._findings.add(
                    f"{_name(message)} is there again, or too late: {source.decode()} comes after {last} of its stream"
                )
            if on_found is not None:
                on_found(message, source)
            if full:
                found.digest += fingerprint(pack((source, message.key(), message.value(), headers[:-2])))
                kind, when = message.timestamp()
                found.times += when
                if kind != TIMESTAMP_CREATE_TIME:
                    self._created = False

    def compare(self, deleted: str) -> None:
        for unit, expected in self._expected.items():
            found = self._found[unit]
            missing = expected.count - found.count
            if missing:
                self.missing += max(0, missing)
                what = f"{missing} events are missing" if missing > 0 else f"{-missing} events too many are there"
                why = deleted if missing > 0 else ""
                self._findings.add(
                    f"{self._topic}: {what} of unit {unit}: published {expected.count}, found {found.count}{why}"
                )
            elif self._full:
                self._compare_content(unit, expected, found)

    def _compare_content(self, unit: str, expected: Evidence, found: _Found) -> None:
        seen = evidence(found.count, found.digest, found.times)
        if seen.digest != expected.digest:
            self._findings.add(
                f"{self._topic}: what is there of unit {unit} is not what was published: "
                "a key, value, header or source of its events differs"
            )
        # A topic that puts the broker's time on its records keeps no other.
        elif self._created and seen.times != expected.times:
            self._findings.add(f"{self._topic}: timestamps of unit {unit}'s events are not those that were sent")

    def _new_stream(self, prefix: bytes) -> _Stream | None:
        name = prefix.decode()
        owners = [unit for unit in self._found if name == unit or name.startswith(unit + "/")]
        return _Stream(self._found[max(owners, key=len)]) if owners else None

    def _look_for_ids(self, headers: Headers, message: Message) -> None:
        source, event_id = identity(headers)
        before = self._ids.get((source, event_id))
        if before is None:
            return
        accepted = header(headers, "ce_time")
        if accepted in before:
            first, name = before[accepted], (event_id or b"").decode(errors="replace")
            self._findings.add(f"event {name} is there twice: at {first} and {_name(message)}")
        elif before:
            self.repeated += 1
        before[accepted] = _name(message)


def _name(message: Message) -> str:
    return f"{message.topic()}-{message.partition()}@{message.offset()}"
