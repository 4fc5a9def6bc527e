"""What a program under test writes down, line by line, so that a kill -9 takes nothing of it away."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import xxhash


class Journal:
    """Appends lines to a file; each is with the operating system when `write` returns."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, what: str, *fields: object) -> None:
        line = "\t".join([what, str(time.monotonic_ns()), *map(str, fields)])
        os.write(self._file, line.encode() + b"\n")


def fingerprint(payload: bytes) -> str:
    return xxhash.xxh3_64_hexdigest(payload)


@dataclass(slots=True)
class Published:
    """One event as its producer saw it.

    Attributes:
        id: its id.
        key: its key.
        print: fingerprint of its payload.
        producer: the producer's life, such as ``a.2``.
        number: its place among all that this life published.
        called: when ``publish`` was called; nanoseconds of the machine's monotonic clock, one for all processes.
        acknowledged: when the acknowledgement was heard; None if it never was.
        path: which way it went, if it was acknowledged.
        refused: why ``publish`` did not accept it; empty if it did.
        failed: why it was given up; empty if it was not.
    """

    id: str
    key: str
    print: str
    producer: str
    number: int
    called: int
    acknowledged: int | None = None
    path: str = ""
    refused: str = ""
    failed: str = ""


@dataclass
class Story:
    """All that the journals of a round tell.

    Attributes:
        events: id → event.
        notes: what else was written down: ``journal: what, fields``.
    """

    events: dict[str, Published] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def read(self, path: Path) -> None:
        """Add what a journal says. A line that was cut off by the end of its writer was never finished: left out."""
        for line in path.read_text().split("\n")[:-1]:
            what, when, *fields = line.split("\t")
            match what, fields:
                case "publish", [identity, key, print_, number]:
                    event = Published(identity, key, print_, path.stem, int(number), int(when))
                    self.events[identity] = event
                case "acknowledged", [identity, way]:
                    self.events[identity].acknowledged, self.events[identity].path = int(when), way
                case "refused", [identity, reason]:
                    self.events[identity].refused = reason
                case "failed", [identity, reason]:
                    self.events[identity].failed = reason
                case _:
                    self.notes.append(f"{path.stem}: {what} {' '.join(fields)}")
