"""What Prometheus is told of the platform: one scrape of a ledger, on both databases."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.runtime.migration import MigrationContext
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import create_engine, text

from redrive.config import Config
from redrive.errors import ConfigError, UnavailableError
from redrive.ledger import Ledger, Look
from redrive.ledger.debts import Change
from redrive.metrics import served
from tests.ledger.letters import fate, fill, sighting

AT = datetime(2026, 11, 27, 20, tzinfo=UTC)

Samples = dict[str, float]


@pytest.fixture
def config(url: str, tmp_path: Path) -> Config:
    return settings(tmp_path, url, free_port())


def settings(folder: Path, url: str, port: int) -> Config:
    (folder / "redrive.toml").write_text(
        f'[ledger]\nurl = "{url}"\n[jobs]\nadmin_port = {port}\n[registry]\nurl = "http://127.0.0.1:1"\n'
        '[clusters.local]\nbootstrap = "127.0.0.1:1"\n[clusters.west]\nbootstrap = "127.0.0.1:1"\n'
        '[domains.a]\ncluster = "local"\n[topics.flights]\ndomain = "a"\n'
    )
    return Config.load(folder / "redrive.toml")


def free_port() -> int:
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        port: int = given.getsockname()[1]
        return port


@pytest.fixture
def scrape(config: Config) -> Iterator[Callable[[], Samples]]:
    """Scrape as Prometheus does; samples by name and label values, in the labels' order by name."""
    with served(config) as url:

        def scrape() -> Samples:
            with urllib.request.urlopen(url) as answer:
                text = answer.read().decode()
            return {
                " ".join([sample.name.removeprefix("redrive_"), *dict(sorted(sample.labels.items())).values()]):
                sample.value for family in text_string_to_metric_families(text) for sample in family.samples
            }  # fmt: skip

        yield scrape


def begin(ledger: Ledger, job: str, cluster: str = "local", mode: str = "run", **more: Any) -> Any:
    return ledger.begin(job, mode, cluster=cluster, resources=[], who="anna", parameters={}, **more)


def test_what_the_last_looks_have_found_is_told(ledger: Ledger, scrape: Callable[[], Samples]) -> None:
    streams = {"a": [2, 2, 30, 900, 1_793_500_000_000, 0], "b": [1, 1, 12, 100, 1_793_400_000_000, 0]}
    counted = {"table": "standby", "streams": streams}
    ledger.looks.enter(Look("local", AT, "unwell", AT - timedelta(hours=1), True, {"billing": 7}, counted=counted))
    ledger.looks.enter(Look("west", AT, "well", AT))
    told = scrape()
    assert told["ledger_up"] == 1
    assert [told[f"cluster_health local {verdict}"] for verdict in ("well", "unwell", "unavailable")] == [0, 1, 0]
    assert told["cluster_health west well"] == 1
    assert told["cluster_look_timestamp_seconds local"] == AT.timestamp()
    assert told["cluster_health_since_timestamp_seconds local"] == AT.timestamp() - 3600
    assert told["consumer_group_lag_events local billing"] == 7
    assert (told["standby_events local"], told["standby_bytes local"]) == (42, 1_000)
    assert told["standby_oldest_timestamp_seconds local"] == 1_793_400_000
    assert told["standby_events west"] == 0
    assert "standby_oldest_timestamp_seconds west" not in told


def test_letters_debts_and_holds_are_counted(ledger: Ledger, scrape: Callable[[], Samples]) -> None:
    fill(ledger, [sighting(0), sighting(1), sighting(2), sighting(3, reason="too-large"), sighting(4, cluster="west")])
    working = begin(ledger, "dlq-correction")
    ledger.letters.record_fates(working, [fate(0, "published"), fate(1, "parked")])
    ledger.debts.owe(
        working, "local", [Change("broker", "1", "rate", None, "9"), Change("broker", "2", "rate", None, "9")]
    )
    ledger.claim(["local/flights", "local/orders"], working)
    told = scrape()
    assert {name: value for name, value in told.items() if name.startswith("dead_letters")} == {
        "dead_letters local none invalid-value": 1, "dead_letters local parked invalid-value": 1,
        "dead_letters local published invalid-value": 1, "dead_letters local none too-large": 1,
        "dead_letters west none invalid-value": 1,
    }  # fmt: skip
    assert (told["debts local"], told["debts west"]) == (2, 0)
    assert told["holds local dlq-correction"] == 2


def test_how_the_last_run_of_each_job_has_ended_is_told_on_each_cluster(
    ledger: Ledger, scrape: Callable[[], Samples]
) -> None:
    begin(ledger, "standby-replay").finish("failed", "failed")
    begin(ledger, "standby-replay").finish("done", "proved")
    begin(ledger, "standby-replay", mode="plan").finish("failed")
    killed = begin(ledger, "dlq-triage", "local, west")
    told = scrape()
    assert told["job_last_run_status local standby-replay done"] == 1
    assert told["job_last_run_status local standby-replay failed"] == 0
    assert told["job_last_run_verdict local standby-replay proved"] == 1
    assert told["job_last_run_end_timestamp_seconds local standby-replay"] > AT.timestamp() - 1e9
    for cluster in ("local", "west"):
        assert told[f"job_last_run_status {cluster} dlq-triage running"] == 1
        assert f"job_last_run_end_timestamp_seconds {cluster} dlq-triage" not in told
        alive = told[f"job_last_run_heartbeat_timestamp_seconds {cluster} dlq-triage"]
        assert alive == pytest.approx(ledger.operation(killed.id).heartbeat_at.timestamp())


def test_a_ledger_that_does_not_answer_is_told_and_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = settings(tmp_path, "postgresql://nobody@127.0.0.1:1/nothing", free_port())
    with caplog.at_level(logging.WARNING), served(config) as url, urllib.request.urlopen(url) as answer:
        assert "redrive_ledger_up 0.0" in answer.read().decode()
    assert "metrics can't be told: ledger postgresql" in caplog.text


def test_a_scrape_changes_no_ledger_of_another_version(
    url: str, scrape: Callable[[], Samples], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert scrape() == {"ledger_up": 0}, "nothing has been written yet"
    assert not (tmp_path / "ledger.db").exists()
    assert revision(url) is None
    assert scrape() == {"ledger_up": 0}, "nor in this empty one"
    Ledger.open(url).close()
    assert scrape()["ledger_up"] == 1
    for other, why in (("0005", "has no tables of this version of Redrive yet"), ("9999", "of a newer version")):
        revision(url, other)
        caplog.clear()
        assert scrape() == {"ledger_up": 0}
        assert why in caplog.text
        assert revision(url) == other


def revision(url: str, set_to: str = "") -> str | None:
    """The version of a database's tables; given one, that is what it is taken for from now on."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        with engine.begin() as connection:
            if set_to:
                connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": set_to})
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def test_the_command_tells_them_until_it_is_told_to_stop(tmp_path: Path) -> None:
    port = free_port()
    Ledger.open(settings(tmp_path, "sqlite:///ledger.db", port).ledger_url()).close()
    with subprocess.Popen(
        [sys.executable, "-c", "from redrive.cli import app; app()", "metrics"],
        env={**os.environ, "REDRIVE_CONFIG": str(tmp_path / "redrive.toml")}, stderr=subprocess.PIPE, text=True,
    ) as command:  # fmt: skip
        try:
            assert command.stderr is not None
            assert command.stderr.readline() == f"metrics: http://127.0.0.1:{port}/metrics\n"
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                assert "redrive_ledger_up 1.0" in answer.read().decode()
        finally:
            command.terminate()
    assert command.returncode == 0


def test_a_port_that_is_taken_or_not_given_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = settings(tmp_path, f"sqlite:///{tmp_path}/ledger.db", taken.getsockname()[1])
        with pytest.raises(UnavailableError, match=r"can't tell metrics on .*admin_port.*in use"), served(config):
            pass
    config = settings(tmp_path, f"sqlite:///{tmp_path}/ledger.db", 0)
    with pytest.raises(ConfigError, match=r"jobs\.admin_port: is 0"), served(config):
        pass
