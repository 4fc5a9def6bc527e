"""The job `cluster-health` and `redrive health`: real clusters, one that is gone, and one that hangs."""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from typer.testing import CliRunner

from deployments.cli import app
from deployments.local.stack import Stack
from flows.cluster_health import Look, cluster_health
from redrive.config import Config
from redrive.consumer import EventConsumer
from redrive.health import lags as looked_at
from redrive.health.changes import BACKLOG, UNAVAILABLE
from redrive.health.facts import ClusterState
from redrive.health.lags import read_lags
from redrive.health.looking import look
from redrive.ledger import Ledger
from redrive.producer import EventProducer
from redrive.standby.batches import Stored
from redrive.standby.lanes import Lane, Topics
from redrive.standby.store import Slot
from redrive.standby.survey import survey
from redrive.standby.writer import Entry, LaneWriter, SystemClock
from tasks.cluster_health.steps import artifact_key
from tests.stack.backlog import Backlogs
from tests.stack.platform import Platform

pytestmark = pytest.mark.timeout(300)


class Region(Backlogs):
    """A platform on three clusters: a real one, one that nobody listens for, and one that takes calls and is silent."""

    def __init__(self, stack: Stack, folder: Path, silent_port: int) -> None:
        super().__init__(stack, folder, "orders")
        unique = uuid.uuid4().hex[:6]
        self.real, self.gone, self.silent = "main", f"gone-{unique}", f"silent-{unique}"
        self._silent_port = silent_port

    def create(self) -> None:
        super().create()  # while there is no cluster that can't be asked
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            ports = {self.gone: closed.getsockname()[1], self.silent: self._silent_port}
        more = "".join(f'[clusters.{name}]\nbootstrap = "127.0.0.1:{port}"\n' for name, port in ports.items())
        self.file.write_text(self.file.read_text() + more)
        self.config = Config.load(self.file)

    def without(self, cluster: str) -> None:
        """Take a cluster out of the settings."""
        lines = self.file.read_text().splitlines()
        at = lines.index(f"[clusters.{cluster}]")
        self.file.write_text("\n".join([*lines[:at], *lines[at + 2 :], ""]))


@pytest.fixture
def region(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Region]:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        region = Region(stack, tmp_path, silent.getsockname()[1])
        for name, value in region.environment.items():
            monkeypatch.setenv(name, value)
        region.create()
        api = stack.environment()["PREFECT_API_URL"]
        with temporary_settings(updates={PREFECT_API_URL: api, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            yield region


@pytest.fixture
def prefect(region: Region) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


def artifacts_for(prefect: SyncPrefectClient, cluster: str) -> list[Artifact]:
    named = ArtifactFilter(key=ArtifactFilterKey(any_=[artifact_key(cluster)]))
    return [each for each in prefect.read_artifacts(artifact_filter=named) if "cluster" in (each.metadata_ or {})]


def events_about(prefect: SyncPrefectClient, cluster: str) -> list[dict[str, Any]]:
    wanted = {
        "resource": {"id": [f"redrive.cluster.{cluster}"]},
        "occurred": {"since": (datetime.now(UTC) - timedelta(minutes=10)).isoformat()},
    }
    response = prefect.request("POST", "/events/filter", json={"filter": wanted, "limit": 50})
    return list(response.json()["events"])


def test_clusters_that_do_not_answer_are_seen_at_once_and_do_not_delay_the_others(region: Region) -> None:
    began = time.monotonic()
    real, gone, silent = look(region.config, [region.real, region.gone, region.silent])

    assert time.monotonic() - began < 18
    assert isinstance(real.state, ClusterState)
    assert real.state.down == []
    assert sorted(real.state.brokers) == [1, 2, 3]
    assert real.state.controller in (1, 2, 3)
    assert "127.0.0.1" in gone.state.reason  # type: ignore[union-attr]
    assert silent.state.reason  # type: ignore[union-attr]


def test_a_run_shows_each_cluster_in_one_artifact_and_tells_what_is_new_once(
    region: Region, prefect: SyncPrefectClient
) -> None:
    region.fill(region.topics[0], 200)
    clusters = [region.real, region.gone]
    for _ in range(2):
        state = cluster_health(Look(clusters=clusters), return_state=True)
        assert state.is_completed(), state.message
        assert f"{region.gone} is unavailable" in str(state.message)

    (artifact,) = artifacts_for(prefect, region.gone)
    assert artifact.metadata_ is not None
    assert artifact.metadata_["verdict"] == "unavailable"
    assert "start its brokers" in str(artifact.data)
    shown = artifacts_for(prefect, region.real)[0]
    assert "**200 events**" in str(shown.data)
    assert "redrive run standby-replay --cluster main" in str(shown.data)

    deadline = time.monotonic() + 120
    while not (told := events_about(prefect, region.gone)):
        assert time.monotonic() < deadline, "the event does not arrive"
        time.sleep(0.3)
    time.sleep(1)
    assert [event["event"] for event in events_about(prefect, region.gone)] == [UNAVAILABLE]
    assert told[0]["payload"]["cluster"] == region.gone
    backlogs = [event for event in events_about(prefect, region.real) if event["event"] == BACKLOG]
    assert 200 in [event["payload"]["events"] for event in backlogs]
    with Ledger.open(region.config.ledger_url()) as ledger:
        last = ledger.looks.last(region.gone)
        assert last is not None
        assert last.verdict == "unavailable"
        assert last.since < last.at
        assert ledger.operations() == [], "a look each minute is no operation: the journal would never end"
        region.without(region.gone)
        ledger.looks.enter(replace(last, cluster=(lost := f"lost-{region.gone}")))
        store_one_event(region, lost)
        state = cluster_health(Look(clusters=[region.real]), return_state=True)
        assert f"{lost} is not in the settings any more, but has 1 event left to replay" in str(state.message)
        assert ledger.looks.clusters() == [lost, region.real]
    assert artifacts_for(prefect, region.gone) == [], "what has left the settings is not shown for ever"
    assert f"standby-replay --cluster {lost} --mode run" in str(artifacts_for(prefect, lost)[0].data)
    assert artifacts_for(prefect, region.real)


def test_what_was_counted_is_not_read_again_and_what_came_since_is_added(region: Region) -> None:
    cluster = f"counted-{region.gone}"
    store_one_event(region, cluster)
    (lane,) = survey(region.store, cluster)
    ((pk, tally),) = lane.tallies.items()
    assert list(region.store.outline(pk, tally.slot)) == []
    assert survey(region.store, cluster, known=lane.tallies) == [lane]

    region.store.put_new(pk, tally.slot + 1, Slot("events", "more", b"data", events=7, oldest=tally.oldest or 0))
    assert [number for number, _ in region.store.outline(pk, tally.slot)] == [tally.slot + 1]
    (more,) = survey(region.store, cluster, known=lane.tallies)
    assert [more] == survey(region.store, cluster)
    assert (more.events, more.bytes) == (lane.events + 7, lane.bytes + 4)


def store_one_event(region: Region, cluster: str) -> None:
    Topics(region.store, cluster).lanes("orders", 1)
    writer = LaneWriter(region.store, Lane(cluster, "orders", 0), "shop", clock=SystemClock(), grace=0.0, seal_wait=5.0)
    assert writer.enter(must_divert=True) is Entry.STANDBY
    assert writer.store([Stored("order-1", b"k", b"v", [], time.time_ns() // 1_000_000)])


@pytest.mark.parametrize(("clusters", "code"), [(["main", "gone"], 3), (["main"], 1)])
def test_the_command_says_it_by_its_exit_code_too(region: Region, clusters: list[str], code: int) -> None:
    region.fill(region.topics[0], 10)
    names = [region.gone if name == "gone" else name for name in clusters]
    result = CliRunner().invoke(app, ["health", *names, "--json"], catch_exceptions=False)
    assert result.exit_code == code, result.output
    found = {each["cluster"]: each for each in json.loads(result.stdout)}
    assert found["main"]["facts"]["standby"]["events"] == 10
    assert found["main"]["facts"]["state"]["partitions"] > 0
    assert [reason["way_out"] for reason in found["main"]["reasons"] if "standby-replay" in reason["way_out"]]

    people = CliRunner().invoke(app, ["health", *names], catch_exceptions=False)
    assert "main is unwell" in people.stdout
    assert "→ one starts by itself; at once: `redrive run standby-replay" in people.stdout


def test_lag_is_what_a_group_has_not_committed(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = Platform(stack, tmp_path, monkeypatch)
    with EventProducer(platform.group, platform.config, topics=[platform.orders]) as producer:
        for number in range(20):
            producer.publish(platform.orders, f"key-{number}", {"id": number})
        producer.flush()
        with EventConsumer(platform.group, platform.config, [platform.orders]) as consumer:
            consumer.run(lambda _: None, idle=10)  # a group takes its time to form on a busy machine
            assert consumer.counts["handled"] == 20
        for number in range(7):
            producer.publish(platform.orders, f"key-{number}", {"id": number})
        producer.flush()
    lags = {lag.group: lag for lag in read_lags(platform.config.cluster("one"), 10).groups}
    assert lags[platform.group].events == 7
    assert lags[platform.group].members == 0
    monkeypatch.setattr(looked_at, "MOST_GROUPS", 0)
    few = read_lags(platform.config.cluster("one"), 10)
    assert few.groups == ()
    assert few.unasked >= len(lags), "that some were not asked about is known"
