"""What moves make less safe is told by each door that shows a plan."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from flows import partition_rebalance as flow
from redrive.cli import app
from redrive.partitions.layout import Broker, Layout, Partition
from redrive.partitions.picture import BrokerPicture, Picture
from redrive.partitions.planner import Goal
from redrive.partitions.rebalancing import plan_of, record
from redrive.partitions.state import PartitionState
from tasks.operations import MOVING, UNDER_MIN_ISR

ALREADY = "Under min ISR already, and so nothing that moves wait for: orders/0."
SINCE = "Under min ISR since these moves began: orders/0."


def picture() -> Picture:
    """Three brokers with two partitions everywhere; of one of these, two replicas are not in sync."""
    replicas = (1, 2, 3)
    partitions = {
        ("orders", number): PartitionState("orders", number, replicas, 1, frozenset(replicas if number else {1}))
        for number in range(2)
    }
    layout = Layout(tuple(map(Broker, replicas)), tuple(Partition("orders", n, replicas, 100) for n in range(2)))
    brokers = tuple(BrokerPicture(id_, None, True, 2, 0, 200, None, None, None, "") for id_ in replicas)
    least = {"orders": 2}
    return Picture("east", layout, brokers, partitions, (), (), (("orders", 0),), least, {}, (), None)


@pytest.fixture
def east(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "redrive.toml").write_text("""\
[registry]
url = "http://unused"
[clusters.east]
bootstrap = "unused:9092"
[domains]
[topics]
""")
    monkeypatch.setenv("REDRIVE_CONFIG", str(tmp_path / "redrive.toml"))
    monkeypatch.setattr(Picture, "take", lambda *_: picture())


@pytest.mark.usefixtures("east")
def test_a_plan_on_the_command_line_tells_it() -> None:
    plan = ["cluster", "plan", "--goal", "replication_factor", "--replication", "1"]
    result = CliRunner().invoke(app, plan)
    assert result.exit_code == 0, result.output
    told = " ".join(result.stdout.split())
    assert "! Fewer replicas than now: orders/0, orders/1." in told
    assert "! Fewer replicas than min.insync.replicas asks for: orders/0, orders/1." in told
    assert f"! {ALREADY}" in told
    cautions = json.loads(CliRunner().invoke(app, [*plan, "--json"]).stdout)["cautions"]
    assert [each.split(":")[0] for each in cautions] == [
        "Fewer replicas than now",
        "Fewer replicas than min.insync.replicas asks for",
        "Under min ISR already, and so nothing that moves wait for",
    ]


@pytest.mark.usefixtures("east")
def test_a_plan_and_a_run_tell_that_no_move_begins_while_a_partition_has_no_leader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offline = replace(picture(), without_leader=(("orders", 0),))
    monkeypatch.setattr(Picture, "take", lambda *_: offline)
    waits = "Without a leader: orders/0. No move begins before that is mended."
    plan = ["cluster", "plan", "--goal", "replication_factor", "--replication", "1", "--json"]
    cautions = json.loads(CliRunner().invoke(app, plan).stdout)["cautions"]
    assert cautions[-1] == waits
    ledger = SimpleNamespace(entries=lambda _: [SimpleNamespace(kind=MOVING, body={UNDER_MIN_ISR: [["orders", 0]]})])
    work: Any = SimpleNamespace(run=SimpleNamespace(id="a", ledger=ledger), picture=offline)
    kept = record("east", plan_of(offline, Goal("replication_factor", replication=1)))
    notes = flow._decided(cast(Any, work), kept, "digest", []).notes
    assert notes[-1] == waits
    assert not any("nothing that moves wait for" in note for note in (*notes, *cautions))


@pytest.mark.parametrize(
    ("before", "told"),
    [(None, ALREADY), ([["orders", 0]], ALREADY), ([], SINCE)],
    ids=["nothing has begun", "it was so before", "it has come since"],
)
def test_a_run_says_which_partitions_under_min_isr_its_moves_wait_for(before: Any, told: str) -> None:
    entries = [] if before is None else [SimpleNamespace(kind=MOVING, body={UNDER_MIN_ISR: before})]
    ledger = SimpleNamespace(entries=lambda _: entries)
    made = picture()
    work: Any = SimpleNamespace(run=SimpleNamespace(id="a", ledger=ledger), picture=made)
    kept = record("east", plan_of(made, Goal("replication_factor", replication=1)))
    notes = flow._decided(cast(Any, work), kept, "digest", []).notes
    assert notes[-1].startswith(told)
    done = kept | {"moves": [[*move[:2], list(each.replicas), list(each.replicas), 0] for move, each in zip(
        kept["moves"], made.partitions.values(), strict=True)]}  # fmt: skip
    assert flow._decided(cast(Any, work), done, "digest", []).notes == []
