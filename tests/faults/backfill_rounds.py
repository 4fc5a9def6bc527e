"""A platform with a backfill that is killed, and rounds of a campaign: seeded kills, one after the other."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from deployments.local.stack import Stack
from redrive.migrations.unit import source_offset, way
from redrive.pump.names import PARKING_TOPIC
from tests.faults.backfilling import CALLS, Job, main
from tests.faults.processes import start
from tests.stack.moving_house import ORDER_V2, MovingHouse

EVENTS = 400


class Killed(MovingHouse):
    """A platform with a backfill that is killed.

    Args:
        rules: whether it goes by rules. If not, the target takes orders without a note as well.
    """

    def __init__(self, stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch, *, rules: bool = True) -> None:
        super().__init__(stack, folder, monkeypatch)
        self._rules = rules
        if not rules:
            number, note, urgent = ORDER_V2["fields"]
            fields = [number, note | {"type": ["null", "string"]}, urgent]
            (folder / "order_v2.avsc").write_text(json.dumps(ORDER_V2 | {"fields": fields}))

    def fill(self, first: int = 0) -> None:
        for partition in (0, 1):
            notes = [None if number % 50 == 7 else f"note {number}" for number in range(first, first + EVENTS // 2)]
            self.publish(notes, partition, first)

    def live(self, operation: str, point: str = "", follow: float = 0.0) -> int | None:
        """Let a backfill run until it ends or dies; gives its exit code."""
        log = self.file.parent / "backfill.log"
        process = start(
            main, Job(str(self.file), self.orders, self.target, operation, str(log), point, follow, self._rules)
        )
        process.join(120)
        assert process.exitcode is not None, log.read_text()[-3_000:]
        return process.exitcode

    def violations(self) -> list[str]:
        """Compare both topics as consumers see them."""
        came = way("one", self.orders, self.target)
        reader, new_reader = self.registry.reader(), self.registry.reader(self.target)
        wanted: dict[int, list[tuple[Any, ...]]] = {0: [], 1: []}
        bad: set[tuple[int, int]] = set()
        for message in self.read(self.orders):
            order = reader.decode(message.value() or b"")
            at, offset = message.partition() or 0, message.offset() or 0
            if self._rules and order["note"] is None:
                bad.add((at, offset))
            else:
                wanted[at].append((offset, message.key(), message.timestamp(), order["id"], order["note"]))
        found: dict[int, list[tuple[Any, ...]]] = {0: [], 1: []}
        for message in self.read(self.target):
            order = new_reader.decode(message.value() or b"")
            unit = f"{came}/{message.partition()}"
            offset = source_offset((message.headers() or [])[-1][1] or b"", unit)
            found[message.partition() or 0].append(
                (offset, message.key(), message.timestamp(), order["number"], order["note"])
            )
        parked = [
            (message.headers() or [])[-1][1].split(b"/")
            for message in self.read(PARKING_TOPIC)
            if ((message.headers() or [])[-1][1] or b"").startswith(came.encode())
        ]
        places = sorted((int(place[-4]), int(place[-2])) for place in parked)
        wrong = [f"partition {at}: {wanted[at]} became {found[at]}" for at in (0, 1) if wanted[at] != found[at]]
        return wrong + ([] if places == sorted(bad) else [f"parked: {places}, not {sorted(bad)}"])


def campaign(stack: Any, folder: Path, rounds: int, seed: int) -> bool:
    """Run rounds, each with a platform of its own and some kills; says whether all were clean."""
    kills: Counter[str] = Counter()
    violated: list[int] = []
    for number in range(seed, seed + rounds):
        draw = random.Random(number)
        place = folder / f"round-{number}"
        place.mkdir(parents=True)
        with pytest.MonkeyPatch.context() as patch:
            house = Killed(stack, place, patch, rules=number % 2 == 0)
            for life in range(draw.randint(3, 6)):
                house.fill(life * EVENTS // 2)
                call = draw.choice(sorted(CALLS))
                point = f"{draw.choice(['before', 'after'])} {call}:{draw.randint(1, CALLS[call])}"
                if house.live(f"op-{life}", point) == -9:
                    kills[point.partition(":")[0]] += 1
            ended = house.live("op-last")
            wrong = house.violations() if ended == 0 else [f"the last run ended with code {ended}"]
        print(f"seed {number}: {wrong or 'clean'}, {kills.total()} kills so far", flush=True)
        if wrong:
            violated.append(number)
    for point, count in sorted(kills.items()):
        print(f"  {count:6} {point}")
    print(f"rounds {rounds}, kills {kills.total()}, violated: {violated or 'none'}")
    return not violated
