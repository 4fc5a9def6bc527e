"""Runs of `schema-backfill` in processes of their own: cancelled and killed, in mid-copy and in the switch."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from deployments.local.stack import Stack
from flows.schema_backfill import Backfill, schema_backfill
from redrive.aliases.alias import read_alias
from redrive.config import Config
from redrive.ledger import Ledger, OperationRow, holds
from redrive.migrations.abandoning import abandon
from redrive.migrations.survey import copied_so_far
from tasks.standby_replay.earlier import SWITCHING
from tests.faults.backfill_flow import Job, main
from tests.faults.processes import start
from tests.stack.backlog import word
from tests.stack.migrations.live import Publishing, by_key
from tests.stack.moving_house import MovingHouse
from tests.stack.platform import wait_until

pytestmark = pytest.mark.timeout(400)

WITHIN = 120.0
"""Seconds that anything may take, on a busy machine."""
EVENTS = 6_000
SLOWLY = 1.0
"""Events a second. The first piece of a partition goes at once, and all that comes after it waits for hours."""


class Runs:
    """A platform whose orders are moved by runs that end in other ways than they should."""

    def __init__(self, stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.house = house = MovingHouse(stack, folder, monkeypatch)
        monkeypatch.setenv("REDRIVE_CONFIG", str(house.file))
        quick = "[standby]\ngate_refresh = 0.3\ndivert_after = 1.5\n"
        house.file.write_text(house.file.read_text().replace("[standby]\n", quick))
        house.config = Config.load(house.file)
        self.client = house.config.cluster("one").client_config()
        claim = holds.claim
        # Who has been killed here shows no sign of life any more, however short one watches.
        monkeypatch.setattr(holds, "claim", lambda *given: claim(*given[:-1], ttl=2.0))

    def given(self, **more: Any) -> dict[str, Any]:
        house = self.house
        return {"mode": "run", "source": house.orders, "target": house.target, "rules": "rules.yaml"} | more

    def run(self, **more: Any) -> State[Any]:
        """Run one to its end."""
        return schema_backfill(Backfill(**self.given(**more)), return_state=True)

    def start(self, *, stands: bool = False, **more: Any) -> Running:
        """Start one in a process of its own; see `tests.faults.backfill_flow.Job`."""
        file, log = self.house.file, self.house.file.parent / "run.log"
        job = Job(str(file), PREFECT_API_URL.value() or "", self.given(**more), str(log), stands)
        return Running(job, self.house)

    def source(self) -> list[Any]:
        return [
            (each.partition(), each.offset(), each.key(), each.value(), each.timestamp(), each.headers())
            for each in sorted(self.house.read(self.house.orders), key=lambda each: (each.partition(), each.offset()))
        ]

    def copied(self) -> int:
        house = self.house
        if not house.exists(house.target):
            return 0
        return sum(copied_so_far(self.client, "one", house.orders, house.target).values())

    def is_storing(self) -> bool:
        """Say whether a switch was begun, and consumers are not told yet: producers store what they publish."""
        alias = read_alias(self.client, self.house.orders)
        return alias is not None and alias.current == self.house.target and not alias.places


class Running:
    """A run in a process of its own."""

    def __init__(self, job: Job, house: MovingHouse) -> None:
        self._house, self._log = house, Path(job.log)
        self._before = {row.id for row in self._operations()}
        self._process = start(main, job)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # if the test has failed before it was ended
        self._process.join(WITHIN)

    def send(self, sent: signal.Signals) -> None:
        pid = self._process.pid
        assert self._process.exitcode is None, self._log.read_text()[-3_000:]
        assert pid is not None
        os.kill(pid, sent)
        self._process.join(WITHIN)
        assert self._process.exitcode == -sent, self._log.read_text()[-3_000:]

    def _operations(self) -> list[OperationRow]:
        with Ledger.open(self._house.config.ledger_url()) as ledger:
            return ledger.operations()

    def operation(self) -> OperationRow:
        """What the ledger has of it; no other run must have begun since."""
        (row,) = [row for row in self._operations() if row.id not in self._before]
        return row

    def is_switching(self) -> bool:
        """Say whether it has begun to switch producers."""
        with Ledger.open(self._house.config.ledger_url()) as ledger:
            begun = [row.id for row in ledger.operations() if row.id not in self._before]
            return any(entry.kind == SWITCHING for each in begun for entry in ledger.entries(each))


@pytest.fixture
def runs(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    runs = Runs(stack, tmp_path, monkeypatch)
    settings = {PREFECT_API_URL: stack.environment()["PREFECT_API_URL"], PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(updates=settings):
        yield runs


until = partial(wait_until, seconds=WITHIN)


def test_a_run_that_is_cancelled_or_killed_while_it_copies_leaves_the_source_as_it_was_and_is_gone_on_with_or_given_up(
    runs: Runs,
) -> None:
    house = runs.house
    for partition in (0, 1):
        house.publish([f"{number}" for number in range(EVENTS // 2)], partition, partition * EVENTS // 2)
    before = runs.source()

    with runs.start(rate=SLOWLY) as cancelled:
        until(lambda: runs.copied() > 0)
        cancelled.send(signal.SIGTERM)  # which is what a cancel comes to
    at = runs.copied()
    assert 0 < at < EVENTS
    assert cancelled.operation().status == "cancelled"
    with runs.start(rate=SLOWLY) as killed:
        until(lambda: runs.copied() > at)
        killed.send(signal.SIGKILL)
    assert at < runs.copied() < EVENTS
    assert killed.operation().status == "running"
    assert runs.source() == before

    state = runs.run()
    assert word(state) == "proved", state.message
    assert sorted(order["number"] for order in house.moved()) == list(range(EVENTS))
    assert abandon(house.config, house.orders, house.target) == 2
    until(lambda: not house.exists(house.target))
    assert runs.copied() == 0
    assert runs.source() == before


def test_a_run_that_is_cancelled_or_killed_while_producers_are_switched_is_ended_by_the_next_one_and_loses_nothing(
    runs: Runs,
) -> None:
    house = runs.house
    with Publishing(house, producers=1, pause=0.1) as publishing:
        publishing.wait_until(10)
        with runs.start(goal="switch_producers", stands=True) as cancelled:
            until(runs.is_storing)
            cancelled.send(signal.SIGTERM)
        assert cancelled.operation().status == "cancelled"
        assert "STORING" in str((cancelled.operation().evidence or {})["storing"])
        assert runs.is_storing()
        with runs.start(goal="switch_producers", stands=True) as killed:
            until(killed.is_switching)
            killed.send(signal.SIGKILL)
        assert "standby" in publishing.paths()

        state = runs.run(goal="switch_producers")
        assert word(state) == "proved", state.message
        publishing.wait_until(10)
    assert all(receipt.done and not receipt.refusal for receipt in publishing.receipts)
    found = by_key(house.read(house.target), house.registry.reader(house.target).decode)
    assert found == publishing.published
    old = by_key(house.read(house.orders), house.registry.reader(house.orders).decode, "id")
    assert all(publishing.published[key][: len(numbers)] == numbers for key, numbers in old.items())
