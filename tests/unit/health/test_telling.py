"""Which looks tell something: none that another one has overtaken, and each change once, whatever clocks say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from httpx import ConnectTimeout
from prefect.events.schemas.events import Event
from prefect.logging import disable_run_logger

from redrive.config import Config
from redrive.errors import ConfigError, UnavailableError
from redrive.health.changes import RECOVERED, UNAVAILABLE
from redrive.health.judging import judge
from redrive.health.waiting import tallies
from redrive.ledger import Ledger, Look
from tasks.cluster_health import steps as health
from tasks.cluster_health.steps import Found, tell_changes
from tests.unit.health.test_health import AWAY, GOOD

NOW = datetime.now(UTC)


class Looks:
    """Looks at the cluster east, and what Prefect's server was sent of each."""

    def __init__(self, config: Config, sent: list[str]) -> None:
        self.config, self.sent = config, sent

    def told(self, seconds: float, **parts: Any) -> list[str]:
        """Look so many seconds from now, by the clock of whoever looks; give what it tells."""
        self.sent.clear()
        facts = replace(GOOD, at=NOW + timedelta(seconds=seconds), **parts)
        assert tell_changes(self.config, Found([judge(facts)])) == ""
        return list(self.sent)

    def kept(self) -> str:
        with Ledger.open(self.config.ledger_url()) as ledger:
            look = ledger.looks.last("east")
        assert look is not None
        return look.verdict


@pytest.fixture
def looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Looks]:
    (tmp_path / "redrive.toml").write_text(
        '[registry]\nurl = "http://127.0.0.1:1"\n[clusters.east]\nbootstrap = "127.0.0.1:1"\n'
        '[domains.a]\ncluster = "east"\n[topics.orders]\ndomain = "a"\n'
    )
    sent: list[str] = []

    def send(events: Sequence[Event]) -> None:
        sent.extend(event.event for event in events)

    monkeypatch.setattr(health, "send", send)
    with disable_run_logger():
        yield Looks(Config.load(tmp_path / "redrive.toml"), sent)


def test_a_look_that_another_one_has_overtaken_tells_nothing(looks: Looks) -> None:
    assert looks.told(0, state=AWAY) == [UNAVAILABLE]
    assert looks.told(-20) == []
    assert looks.kept() == "unavailable"
    assert looks.told(20) == [RECOVERED]


def test_a_worker_whose_clock_is_ahead_makes_nobody_tell_the_same_again(looks: Looks) -> None:
    assert looks.told(300, state=AWAY) == [UNAVAILABLE]
    assert [looks.told(minute * 60, state=AWAY) for minute in range(3)] == [[], [], []]
    assert looks.told(180) == [RECOVERED], "and nobody is kept from telling what is new"
    assert [looks.told(480), looks.told(240)] == [[], []]


def test_a_last_look_that_can_not_be_read_keeps_no_other_cluster_from_being_told_and_fails_the_run(
    looks: Looks,
) -> None:
    odd = Look("east", NOW - timedelta(minutes=1), "well", NOW, troubles={"slow": "yesterday"})
    healths = [judge(replace(GOOD, at=NOW, cluster=name, state=AWAY)) for name in ("east", "west")]
    with Ledger.open(looks.config.ledger_url()) as ledger:
        ledger.looks.enter(odd)
        untold = tell_changes(looks.config, Found(healths))
        assert "by a fault of ours: east (ValueError: " in untold
        assert "west" not in untold
        assert looks.sent == [UNAVAILABLE]
        assert [look and look.verdict for look in map(ledger.looks.last, ("east", "west"))] == ["well", "unavailable"]


def test_a_report_that_can_not_be_written_hides_no_other_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, str] = {}

    def keep(client: object, *, key: str, data: str, **_: Any) -> None:
        shown[key] = data

    monkeypatch.setattr(health, "get_client", lambda **_: nullcontext())
    monkeypatch.setattr(health.artifacts, "keep", keep)
    odd: Any = replace(GOOD, lags=(None,))
    with disable_run_logger():
        health.show(Found([judge(odd), judge(replace(GOOD, cluster="west"))]))
    assert "east is well" in shown["cluster-health-east"]
    assert "by a fault of ours: AttributeError" in shown["cluster-health-east"]
    assert "### Brokers" in shown["cluster-health-west"]


@pytest.mark.parametrize(
    "error",
    [ConfigError("standby.table", "there is no table"), UnavailableError("standby", "away"), ConnectTimeout("")],
    ids=["refused", "away", "no answer from Prefect"],
)
def test_that_a_cluster_of_the_past_can_not_be_forgotten_fails_no_look_and_is_said(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    at_prefect = isinstance(error, ConnectTimeout)
    monkeypatch.setattr(health, "read_standby", (lambda *_: None) if at_prefect else fail)
    monkeypatch.setattr(health, "get_client", fail)
    with disable_run_logger():
        [said] = health.forget_clusters(cast(Config, None), ["old"])
    assert said.startswith("old has left the settings, and can't be forgotten yet: ")
    assert said.endswith(str(error) or "ConnectTimeout")


def test_a_mistake_of_ours_about_one_cluster_of_the_past_fails_no_look_and_keeps_no_other_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(_: object, name: str) -> object:
        if name == "odd":  # its row is of a version that had it otherwise
            return tallies({"table": "standby", "streams": {"a": [1] * 7}}, "standby")
        raise UnavailableError("standby", "away")

    monkeypatch.setattr(health, "read_standby", read)
    with disable_run_logger():
        odd, old = health.forget_clusters(cast(Config, None), ["odd", "old"])
    assert odd.startswith("odd has left the settings, and can't be forgotten, by a fault of ours: TypeError")
    assert old.startswith("old has left the settings, and can't be forgotten yet: ")
