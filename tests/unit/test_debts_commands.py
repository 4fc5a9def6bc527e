"""``redrive debts``: what is given up stays in the ledger, with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from redrive.cli import app
from redrive.errors import ConfigError
from redrive.ledger import Change, Ledger


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """Two clusters, each with debts of a broker that is gone."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    file = tmp_path / "redrive.toml"
    file.write_text(f"""\
[registry]
url = "http://unused"
[ledger]
url = "{url}"
[clusters.east]
bootstrap = "127.0.0.1:1"
[clusters.west]
bootstrap = "127.0.0.1:1"
[domains]
[topics]
""")
    monkeypatch.setenv("REDRIVE_CONFIG", str(file))
    with Ledger.open(url) as ledger:
        for cluster in ("east", "west"):
            run = ledger.begin("partition-rebalance", "run", cluster=cluster, resources=[], who="x", parameters={})
            rate = "leader.replication.throttled.rate"
            ledger.debts.owe(run, cluster, [Change("broker", name, rate, None, "5") for name in ("4", "5")])
            run.finish("failed")
        yield ledger


def test_debts_that_nobody_can_pay_are_written_off_with_a_reason_and_no_others(ledger: Ledger) -> None:
    first, second, third, _ = (row.id for row in ledger.debts.owed())
    result = CliRunner().invoke(app, ["debts", "write-off", str(first), str(third), "--why", "its disk is lost"])
    assert (result.exit_code, result.stdout) == (0, "2 settings written off.\n")
    assert second in {row.id for row in ledger.debts.owed()}
    assert {row.id: row.how for row in ledger.debts.latest(9) if row.how} == dict.fromkeys(
        (first, third), "written off: its disk is lost"
    )
    assert {row.cluster for row in ledger.operations(9, "debts")} == {"east", "west"}


@pytest.mark.parametrize(("id_", "why", "told"), [("99", "x", "99 is not owed"), ("1", " ", "say why")])
def test_what_is_not_owed_or_has_no_reason_is_refused(ledger: Ledger, id_: str, why: str, told: str) -> None:
    result = CliRunner().invoke(app, ["debts", "write-off", id_, "--why", why])
    assert isinstance(result.exception, ConfigError)
    assert told in str(result.exception)
    assert len(ledger.debts.owed()) == 4


def test_a_run_that_uses_them_keeps_them(ledger: Ledger) -> None:
    run = ledger.begin("partition-rebalance", "run", cluster="east", resources=[], who="x", parameters={})
    ledger.claim(["east/:settings"], run)
    with run.keep_alive(0.2):
        result = CliRunner().invoke(app, ["debts", "write-off", "1", "--why", "gone"])
    assert run.id in str(result.exception)
    assert len(ledger.debts.owed()) == 4
