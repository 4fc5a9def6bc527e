"""Dead letters of a topic whose producers were switched to another one, from the switch to the letter's new place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from deployments.local.stack import Stack
from flows.dlq_correction import Correction, dlq_correction
from redrive import EventProducer
from redrive.aliases.switching import switch
from redrive.aliases.turning import alias_forth
from redrive.config import Config
from redrive.deadletters.correction.by_hand import Edit, LetterInHand
from redrive.deadletters.selection import Selection
from redrive.deadletters.triage import triage
from redrive.errors import InvalidEventError
from redrive.ledger import Ledger
from tasks.ending import plan_key
from tests.stack.backlog import word
from tests.stack.migrations.live import following, migration
from tests.stack.moving_house import MovingHouse

pytestmark = pytest.mark.timeout(150)

RULES = """\
match: first
rules:
  - name: numbers as text
    match: {reason: invalid-value, field: id, when: "type(value.id) == string"}
    do: [{op: convert, path: /id, to: integer}]
"""


class Switched(MovingHouse):
    """A platform with dead letters, whose producers are switched."""

    def settings(self, approval: str = "none", processes: int = 0) -> None:
        super().settings(approval, processes)
        quick = "[standby]\ngate_refresh = 0.3\ndivert_after = 1.5\n"
        text = self.file.read_text().replace("[standby]\n", quick)
        self.file.write_text(f'{text}[corrections]\napproval = "none"\n')
        (self.file.parent / "fix.yaml").write_text(RULES)
        self.config = Config.load(self.file)

    def switch(self) -> None:
        moved = migration(self)
        with following(self.config, moved):
            switch(self.config, alias_forth(self.config, moved), operation="forth", settle=0.5)

    def triage(self) -> None:
        with Ledger.open(self.config.ledger_url()) as ledger:
            operation = ledger.begin("dlq-triage", "run", cluster="one", resources=[], who="anna", parameters={})
            triage(self.config.cluster("one").client_config(), "one", self.dead_letters, ledger.letters, operation)
            operation.finish("done")

    def fates(self) -> dict[bytes | None, str]:
        """Key → fate of its letter."""
        with Ledger.open(self.config.ledger_url()) as ledger:
            return {each.sighting.key: each.fate for each in ledger.letters.find(Selection(fates=[]))}

    def by_hand(self, ledger: Ledger, key: bytes) -> LetterInHand:
        (letter,) = [each for each in ledger.letters.find(Selection()) if each.sighting.key == key]
        return LetterInHand.take(self.config, ledger, self.registry, letter.id)


@pytest.fixture
def house(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Switched]:
    house = Switched(stack, tmp_path, monkeypatch)
    monkeypatch.setenv("REDRIVE_CONFIG", str(house.file))
    settings = {PREFECT_API_URL: stack.environment()["PREFECT_API_URL"], PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(updates=settings):
        yield house


def run(mode: Any) -> str:
    return word(dlq_correction(Correction(mode=mode, rules="fix.yaml"), return_state=True))


def test_letters_from_before_a_switch_go_to_where_events_are_read_now_once_and_behind_nothing_newer(
    house: Switched,
) -> None:
    with EventProducer(house.group, house.config, topics=[house.orders]) as producer:
        for key, value in (
            ("anna", {"id": "1", "note": "!a"}),
            ("berta", {"id": "2", "note": "b"}),
            ("berta", {"id": 3, "note": "newer"}),
            ("clara", {"id": "4", "note": None}),  # no rule takes an order without a note to the new schema
        ):
            producer.publish(house.orders, key, value).result(30)
    house.switch()
    house.triage()

    assert run("plan") == "planned"
    assert f"Letters of `{house.orders}` go to `{house.target}`" in house.shown(plan_key("dlq-correction"))
    assert [order["number"] for order in house.moved()] == [3]

    assert run("run") == "proved"

    assert house.fates() == {b"anna": "published", b"berta": "held", b"clara": "none"}
    newer, corrected = (
        {"number": 3, "note": "newer", "urgent": False}, {"number": 1, "note": "!a", "urgent": True},
    )  # fmt: skip
    assert sorted(house.moved(), key=lambda order: order["number"]) == [corrected, newer]
    assert len(house.read(house.orders)) == 1

    with Ledger.open(house.config.ledger_url()) as ledger:
        clara = house.by_hand(ledger, b"clara")
        with pytest.raises(InvalidEventError, match=f"can't go to {house.target}"):
            clara.check({"id": 4, "note": None})
        clara.check({"id": 4, "note": "c"})
        edit = Edit({"id": 4, "note": "c"})
        done = clara.carry_out(edit, clara.plan(edit), "hold", "anna")
        assert (done.fate.name, done.fate.topic, done.findings) == ("published", house.target, [])

    assert run("run") == "proved"
    assert sorted(order["number"] for order in house.moved()) == [1, 3, 4]
    assert len(house.read(house.orders)) == 1
