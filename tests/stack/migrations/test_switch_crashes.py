"""Switches that are killed, kill -9, at each of their steps: the next run finishes them, or takes producers back."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.local.stack import Stack
from redrive.config import Config
from redrive.standby.drain import open_store
from redrive.standby.lanes import Lane, LaneLog
from tests.faults.processes import start
from tests.faults.switching import Job, main
from tests.stack.migrations.live import Publishing, by_key, migration
from tests.stack.moving_house import MovingHouse

pytestmark = pytest.mark.timeout(150)


class Rig:
    """A platform whose producers are quick to divert, and programs that switch them."""

    def __init__(self, stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.house = MovingHouse(stack, folder, monkeypatch)
        quick = "[standby]\ngate_refresh = 0.3\ndivert_after = 1.5\n"
        self.house.file.write_text(self.house.file.read_text().replace("[standby]\n", quick))
        self.house.config = Config.load(self.house.file)
        self._log = folder / "switch.log"
        self._lives = 0

    def switch(self, way: str, point: str = "") -> None:
        """Live one life of a switch, to the point where it is killed, or to its end."""
        self._lives += 1
        house = self.house
        job = Job(
            str(house.file), house.orders, house.target, way, f"life-{self._lives}", str(self._log), point
        )  # fmt: skip
        process = start(main, job)
        process.join(60)
        said = self._log.read_text()[-3000:] if self._log.exists() else ""
        assert process.exitcode == (-9 if point else 0), f"{way} {point}: {process.exitcode}\n{said}"

    def lanes_lead_to(self) -> set[str]:
        """Where the entries that have opened lanes last lead to."""
        store = open_store(self.house.config)
        found = [LaneLog(store, Lane("one", self.house.orders, number)).state() for number in range(2)]
        assert all(state.kind == "open" for state in found), found
        return {state.target or self.house.orders for state in found}


@pytest.fixture
def rig(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(stack, tmp_path, monkeypatch)


def found_in(house: MovingHouse, topic: str) -> dict[str, list[int]]:
    field = "id" if topic == house.orders else "number"
    return by_key(house.read(topic), house.registry.reader(topic).decode, field)


@pytest.mark.parametrize(
    ("points", "end"),
    [
        (["before write_alias:1", "after write_alias:1", "after put_new.divert:1", "after bump:2"], "back"),
        (["before wait:1", "after wait:1", "before write_alias:2"], "forth"),
        (["after write_alias:2", "before put_new.seal:1", "after put_new.seal:3"], "back"),
        (["before commit:1", "after commit:2", "before put_new.open:1", "after put_new.open:1"], "forth"),
    ],
    ids=["as it diverts", "as it waits for the copy", "as it begins to replay", "as it opens lanes"],
)
def test_a_switch_that_is_killed_again_and_again_is_ended_by_the_next_run_and_nothing_is_lost_doubled_or_out_of_order(
    rig: Rig, points: list[str], end: str
) -> None:
    house = rig.house
    migration(house)
    with Publishing(house) as publishing:
        publishing.wait_until(50)
        for point in points:
            rig.switch("forth", point)
        rig.switch(end)
        publishing.wait_until(50)
    assert all(receipt.done and not receipt.refusal for receipt in publishing.receipts)
    topic = house.target if end == "forth" else house.orders
    assert rig.lanes_lead_to() == {topic}
    assert found_in(house, topic) == publishing.published
