"""Corrections that are killed, stopped and woken, or lose their ledger: each letter ends once, where its fate says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.correction_rounds import Living, Ward
from tests.postgresql import Postgresql, postgresql

pytestmark = pytest.mark.timeout(300)

LETTERS = 60


@pytest.fixture
def ward(fault_stack: Any, tmp_path: Path) -> Ward:
    return Ward(fault_stack.endpoints, tmp_path, letters=LETTERS)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgresql]:
    with postgresql() as server:
        yield server


@pytest.mark.parametrize(
    ("point", "heir"),
    [
        ("after fates:2", "op-2"),  # held letters are entered, and their chunk is not committed
        ("before transaction:6", "op-1"),
        ("after transaction:6", "op-2"),
        ("before settle_cluster:1", "op-1"),
        ("after write:11", "op-2"),  # in the middle of settling, in a transaction of the ledger's
        ("before finish:1", "op-1"),
    ],
)
def test_a_correction_that_is_killed_is_gone_on_with_by_itself_or_another(ward: Ward, point: str, heir: str) -> None:
    assert ward.live("op-1", fuse=point).how == "killed"
    assert ward.live(heir).how == "proved"
    assert ward.violations() == []


def test_a_run_that_settles_a_dead_one_may_be_killed_itself(ward: Ward) -> None:
    assert ward.live("op-1", fuse="after transaction:6").how == "killed"
    assert ward.live("op-2", fuse="after earlier fates:1").how == "killed"
    assert ward.live("op-2", fuse="before commit:1").how == "killed"
    assert ward.live("op-2").how == "proved"
    assert ward.violations() == []


@pytest.mark.parametrize(
    ("point", "moved"),
    [("before settle_cluster:1", "letters was 60"), ("before finish:1", "operation op-2 has gone on with")],
)
def test_a_run_does_not_go_on_where_another_has_gone_on_before_it(ward: Ward, point: str, moved: str) -> None:
    """As when somebody presses Retry on a run that crashed last week."""
    assert ward.live("op-1", fuse=point).how == "killed"
    assert ward.live("op-2").how == "proved"
    late = ward.live("op-1")
    assert late.how.startswith("refused StalePlanError")
    assert moved in late.how
    assert ward.violations() == []


def test_a_zombie_that_was_about_to_commit_is_fenced(ward: Ward) -> None:
    zombie = ward.start("op-1", fuse="before transaction:6", stops=True)
    assert zombie.wait_for_crash()
    assert ward.live("op-2").how == "proved"
    zombie.wake()
    zombie.wait()
    assert zombie.how == "fenced"
    assert ward.violations() == []


def test_what_a_zombie_commits_after_the_next_run_has_looked_makes_that_one_s_plan_stale(ward: Ward) -> None:
    """The next run leaves such partitions alone, and the one after it enters what the zombie has done."""
    zombie = ward.start("op-1", fuse="before commit:2", stops=True, heartbeat=100.0)
    assert zombie.wait_for_crash()
    second = ward.start("op-2", fuse="before start:1", stops=True)
    assert second.wait_for_crash()
    zombie.wake()
    zombie.wait()
    assert zombie.how == "fenced"
    second.wake()
    second.wait()
    assert second.how == "failed"
    assert any("operation op-1 has worked at" in finding for finding in second.findings), second.findings
    assert ward.live("op-3").how == "proved"
    assert ward.violations() == []


@pytest.mark.parametrize("point", ["after write:4", "before settle_cluster:1"])
def test_a_ledger_that_is_restarted_in_the_middle_costs_nothing(
    fault_stack: Any, tmp_path: Path, server: Postgresql, point: str
) -> None:
    ward = Ward(fault_stack.endpoints, tmp_path, letters=LETTERS, ledger=server.create())
    run = ward.start("op-1", fuse=point, stops=True)
    assert run.wait_for_crash()
    server.stop()
    run.wake()
    time.sleep(1.5)
    server.start()
    run.wait()
    assert run.how == "proved", _log(run)
    assert ward.violations() == []


def _log(living: Living) -> str:
    return (living.life.folder / f"{living.life.name}.log").read_text()[-3_000:]
