"""The job `broker-scaling` on a cluster of its own: CPU is high, brokers come, partitions move, and events go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka.admin import AdminClient
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from typer.testing import CliRunner

from deployments.cli import app
from deployments.follow import artifacts_of, start
from deployments.local.stack import Stack
from deployments.worker import ROOT, start_worker
from flows.broker_scaling import JOB, Scale, broker_scaling
from flows.partition_rebalance import Rebalance, partition_rebalance
from flows.standby_replay import Replay, standby_replay
from redrive.config import Config
from redrive.consumer import EventConsumer
from redrive.fleets.growth import KIND, Growth
from redrive.ledger import Ledger, OperationRow
from redrive.producer import EventProducer
from redrive.receipts import Receipt
from redrive.received import ReceivedEvent
from redrive.standby.drain import open_store
from redrive.topics import apply_topics
from tasks.approval import Approval, is_asking, send_answer
from tasks.ending import plan_key, report_key
from tests.stack.backlog import ORDER, word
from tests.stack.platform import wait_until

pytestmark = pytest.mark.timeout(400)

TOPIC = "orders"
AT_ONCE = {"window": 1.0, "cool_down": 0.0, "patience": 90.0}
HIGH = ["echo", json.dumps({str(broker): 75 for broker in range(1, 7)})]


class Town:
    """A cluster that a script adds brokers to: it notes each call."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder, self.file = stack, folder, folder / "redrive.toml"
        (folder / "order.avsc").write_text(json.dumps(ORDER))
        (folder / "add.sh").write_text(
            f"""\
echo "$1" >>asked
exec {sys.executable} -c 'from deployments.cli import main; main()' local add-broker --until "$1" --data {stack.folder}
"""
        )
        self.settings()

    def settings(
        self,
        *,
        scaling: str = "none",
        moves: str = "none",
        script: str = "add.sh",
        load: list[str] = HIGH,
    ) -> None:
        """Settings; unless a test says otherwise, CPU is high."""
        where = self.stack.endpoints
        self.file.write_text(f"""\
[standby]
endpoint = "{where.dynamodb}"
[registry]
url = "{where.registry}"
[ledger]
url = "sqlite:///ledger.db"
[scaling]
approval = "{scaling}"
[rebalancing]
approval = "{moves}"
[clusters.local]
bootstrap = "{where.bootstrap}"
[clusters.local.fleet]
kind = "command"
load = {json.dumps(load)}
add = ["sh", "{script}", "{{brokers}}"]
[domains.shop]
cluster = "local"
[topics.{TOPIC}]
domain = "shop"
partitions = 12
schema = "order.avsc"
[topics."dlq.billing"]
domain = "shop"
partitions = 1
""")

    @property
    def asked(self) -> list[int]:
        file = self.folder / "asked"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def run(self, **more: Any) -> State[Any]:
        return broker_scaling(Scale.model_validate({"mode": "run", **AT_ONCE, **more}), return_state=True)

    def operations(self, job: str = JOB) -> list[OperationRow]:
        with Ledger.open(Config.load(self.file).ledger_url()) as ledger:
            return ledger.operations(50, job)

    def growth(self) -> Growth | None:
        with Ledger.open(Config.load(self.file).ledger_url()) as ledger:
            entry = ledger.latest(KIND, "local")
        return Growth.read(entry.body) if entry else None

    def brokers(self) -> int:
        """How many serve, as another client sees it."""
        return len(AdminClient({"bootstrap.servers": self.stack.endpoints.bootstrap}).list_topics(timeout=10).brokers)

    def replicas(self) -> list[list[int]]:
        """As another client sees them."""
        kafka = AdminClient({"bootstrap.servers": self.stack.endpoints.bootstrap})
        return [list(each.replicas) for each in kafka.list_topics(timeout=10).topics[TOPIC].partitions.values()]


@pytest.fixture(scope="module")
def own_stack() -> Iterator[Stack]:
    stack = Stack(Path(tempfile.mkdtemp(prefix="redrive-scaling-")), "free")
    try:
        stack.up()
        yield stack
    finally:
        stack.down(wipe=True)


@pytest.fixture(scope="module")
def town(own_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    town = Town(own_stack, tmp_path_factory.mktemp("town"))
    given = {name: value for name, value in own_stack.environment().items() if not name.startswith("REDRIVE_")}
    given |= {"REDRIVE_CONFIG": str(town.file), "PYTHONPATH": str(ROOT)}
    with pytest.MonkeyPatch.context() as patch:
        for name in own_stack.environment():
            if name.startswith("REDRIVE_"):
                patch.delenv(name, raising=False)
        for name, value in given.items():
            patch.setenv(name, value)
        config = Config.load()
        open_store(config).create()
        assert {change.outcome for change in apply_topics(config)} <= {"done"}
        settings = {PREFECT_API_URL: given["PREFECT_API_URL"], PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
        with start_worker(given, town.folder / "worker.log"), temporary_settings(updates=settings):
            yield town


@pytest.fixture
def prefect(town: Town) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@contextmanager
def measured(town: Town) -> Iterator[None]:
    """Keep the brokers' real load in a file: a program that measures it would take long to start on a busy machine."""
    stop, file = threading.Event(), town.folder / "load.json"

    def measure() -> None:
        while not stop.is_set():
            load = town.stack.load(0.5)
            file.with_suffix(".new").write_text(json.dumps(load))
            file.with_suffix(".new").rename(file)

    thread = threading.Thread(target=measure, daemon=True)
    thread.start()
    wait_until(file.exists)
    try:
        yield
    finally:
        stop.set()
        thread.join()


class Traffic:
    """A producer and a consumer of the SDK that work the whole time."""

    def __init__(self, config: Config) -> None:
        self.receipts: list[Receipt] = []
        self.received: list[ReceivedEvent] = []
        self._stop = threading.Event()
        self._producer = EventProducer("billing", config, topics=[TOPIC])
        self._producing = threading.Thread(target=self._produce, daemon=True)
        self._consumer = EventConsumer("billing", config, [TOPIC])
        self._consuming = threading.Thread(target=self._consumer.run, args=(self.received.append,), daemon=True)

    def __enter__(self) -> Traffic:
        self._consuming.start()
        self._producing.start()
        wait_until(lambda: self.received, 60)
        return self

    def _produce(self) -> None:
        while not self._stop.wait(0.01):
            number = len(self.receipts)
            self.receipts.append(self._producer.publish(TOPIC, f"key-{number % 50}", {"id": number}))

    def stop_producing(self) -> None:
        self._stop.set()
        self._producing.join()

    def __exit__(self, *_: object) -> None:
        self.stop_producing()
        self._consumer.stop()
        self._consuming.join()
        self._consumer.close()
        self._producer.close()


def events_called(prefect: SyncPrefectClient, name: str) -> list[dict[str, Any]]:
    answer = prefect.request("POST", "/events/filter", json={"filter": {"event": {"name": [name]}}})
    return [event["payload"] for event in answer.json()["events"]]


def waits(prefect: SyncPrefectClient, run_id: UUID) -> FlowRun:
    wait_until(lambda: is_asking(prefect.read_flow_run(run_id)), 90)
    return prefect.read_flow_run(run_id)


def ended(prefect: SyncPrefectClient, run_id: UUID) -> str:
    """Wait for the end of a run; gives what it says."""

    def look() -> State[Any] | None:
        state = prefect.read_flow_run(run_id).state
        return state if state and state.is_final() else None

    wait_until(look, 90)
    return str(prefect.read_flow_run(run_id).state.message)  # type: ignore[union-attr]


def test_a_plan_says_what_would_be_done_and_changes_nothing(town: Town, prefect: SyncPrefectClient) -> None:
    state = town.run(mode="plan")
    assert word(state) == "planned", state.message
    assert "from 3 to 4 brokers" in str(state.message)
    (operation,) = town.operations()
    shown = artifacts_of(prefect, UUID(operation.id))[plan_key(JOB)]
    assert "This is a plan: nothing was changed" in str(shown.data)
    assert "data:image/svg+xml;base64," in str(shown.data)
    assert (town.asked, town.growth(), len(town.stack.brokers)) == ([], None, 3)
    assert events_called(prefect, "redrive.broker.cpu_high") == []


def test_a_run_that_names_no_cluster_starts_one_for_each_that_has_a_fleet(
    town: Town, prefect: SyncPrefectClient
) -> None:
    town.settings()
    with town.file.open("a") as file:  # a second name for the same brokers
        fleet = '[clusters.other.fleet]\nkind = "command"\nload = ["false"]\nadd = ["false", "{brokers}"]\n'
        file.write(f'[clusters.other]\nbootstrap = "{town.stack.endpoints.bootstrap}"\n{fleet}')
    both = start(prefect, JOB, {"scale": {"mode": "plan", **AT_ONCE}}, "anna")
    told = ended(prefect, both.id)
    assert told.startswith("started: a run for each: local ")
    local, other = (UUID(each.split()[-1]) for each in told.split(", "))
    assert "from 3 to 4 brokers" in ended(prefect, local)
    assert ended(prefect, other).startswith("failed: clusters.other.fleet.load: ended with exit code 1")
    by_id = {row.id: row for row in town.operations()}
    assert [by_id[str(each)].cluster for each in (local, other)] == ["local", "other"]
    assert by_id[str(local)].who == "anna"
    town.settings()


@pytest.mark.parametrize(
    ("more", "why"),
    [({"threshold": 80}, "CPU is not high: 75 %, below 80 %"), ({"most": 3}, "may be 3 at most: allow more")],
)
def test_what_is_not_to_grow_is_left_with_the_reason(town: Town, more: dict[str, Any], why: str) -> None:
    state = town.run(**more)
    assert word(state) == "nothing to add", state.message
    assert why in str(state.message)
    assert town.asked == []


def test_limits_of_moves_that_nothing_can_be_measured_by_are_refused_before_brokers_are_asked_for(town: Town) -> None:
    state = town.run(watched_groups=[{"group": "no-such"}])
    assert word(state) == "refused", state.message
    assert "watched_groups: no-such has committed nothing on cluster local" in str(state.message)
    assert (town.asked, town.growth()) == ([], None)


def test_brokers_wait_for_approval_once_and_are_not_added_when_it_is_refused(
    town: Town, prefect: SyncPrefectClient
) -> None:
    town.settings(scaling="required")
    asks = start(prefect, JOB, {"scale": {"mode": "run", **AT_ONCE}}, "anna")
    waits(prefect, asks.id)
    state = town.run()  # as the schedule would
    assert word(state) == "nothing to add"
    assert f"run {asks.id} waits for approval" in str(state.message)
    send_answer(prefect, asks.id, Approval(decision="refuse", name="bert", reason="too dear"))
    assert "bert has refused it: too dear" in ended(prefect, asks.id)
    assert town.asked == []


def test_high_cpu_brings_a_broker_and_partitions_to_it_while_events_go_on(
    town: Town, prefect: SyncPrefectClient
) -> None:
    town.settings(load=["cat", "load.json"])
    with measured(town), Traffic(Config.load()) as traffic:
        options = ["--mode", "run", "--threshold", "0.1", "--window", "5", "--cool-down", "0", "--json"]
        limits = ["--throttle", "auto", "--max-produce-latency", "20000"]
        result = CliRunner().invoke(app, ["run", JOB, *options, *limits], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        said = json.loads(result.stdout)
        assert said["ended"] == "proved", said
        assert (said["new_brokers"], said["brokers"]) == (1, 4)
        traffic.stop_producing()
        assert {receipt.result(30).path for receipt in traffic.receipts} <= {"main", "standby"}
        if any(receipt.path == "standby" for receipt in traffic.receipts):  # the machine was too busy for a moment
            assert word(standby_replay(Replay(mode="run", settle=0), return_state=True)) == "proved"
        ids = set(range(len(traffic.receipts)))
        wait_until(lambda: {event.value["id"] for event in traffic.received} == ids, 60)

    assert town.asked == [4]
    held = [broker for replicas in town.replicas() for broker in replicas]
    # Nine each; what other topics have on a broker may make it one or two more or less.
    assert all(7 <= held.count(broker) <= 11 for broker in (1, 2, 3, 4)), held
    # Each event once, those of a key in the order in which they were published.
    by_key: dict[bytes | None, list[int]] = {}
    for event in traffic.received:
        by_key.setdefault(event.key, []).append(event.value["id"])
    assert all(numbers == sorted(set(numbers)) for numbers in by_key.values())
    told = events_called(prefect, "redrive.broker.cpu_high")
    assert told
    for high in told:  # the run that waited for approval has told it, too
        assert (high["cluster"], high["brokers"], set(high["load"])) == ("local", 3, {"1", "2", "3"})
    (moves,) = town.operations("partition-rebalance")
    (scaling,) = (row for row in town.operations() if row.id == said["operation"])
    assert (moves.verdict, moves.parameters["brokers"], moves.who) == ("proved", [4], scaling.who)
    assert (moves.parameters["throttle"], moves.parameters["max_produce_latency"]) == ("auto", 20_000)
    assert (moves.evidence or {})["produce_p99_ms"]["before"] > 0
    report = artifacts_of(prefect, UUID(said["operation"]))[report_key(JOB)]
    assert moves.id in str(report.data)
    town.settings()
    assert "it has cool-down after the last scaling" in str(town.run(cool_down=600.0).message)


KILLED = """\
import sys
from prefect.client.orchestration import SyncPrefectClient
from flows.broker_scaling import Scale, broker_scaling
from redrive.fleets import CommandFleet
from tests.faults.fuses import Fuse
fuse = Fuse(sys.argv[1])
for kind, call in ((CommandFleet, "grow"), (SyncPrefectClient, "create_flow_run_from_deployment")):
    setattr(kind, call, fuse.wrap(call, getattr(kind, call)))
broker_scaling(Scale.model_validate_json(sys.argv[2]))
"""


def killed(point: str) -> None:
    """Have a run kill itself at a point."""
    given = json.dumps({"mode": "run", **AT_ONCE})
    ended = subprocess.run([sys.executable, "-c", KILLED, point, given], check=False, timeout=180)
    assert ended.returncode == -signal.SIGKILL


def test_runs_that_were_killed_after_the_order_and_after_the_moves_were_started_are_gone_on_with_and_do_neither_twice(
    town: Town, prefect: SyncPrefectClient
) -> None:
    """At each other step, too: ``tests/unit/scaling/test_overtaken.py``, with a real fleet and ledger."""
    town.settings(moves="required")
    killed("after grow:1")
    growth = town.growth()
    assert growth is not None
    assert (growth.target, growth.step) == (5, "asking")  # whether the order was given, nobody knows
    wait_until(lambda: town.brokers() == 5, 120)

    killed("after create_flow_run_from_deployment:1")
    growth = town.growth()
    assert growth is not None
    assert (growth.step, growth.brokers, growth.moves) == ("there", (5,), "")

    state = town.run(threshold=80)  # whatever the load is by now
    assert word(state) == "paused", state.message
    assert "broker 5 there; moves not ended: they wait for approval: redrive approve" in str(state.message)
    assert town.asked == [4, 5]
    assert "the last scaling is not over: they wait for approval" in str(town.run().message)
    growth = town.growth()
    assert growth is not None
    send_answer(prefect, UUID(growth.moves), Approval(decision="approve", name="anna", reason="as planned"))

    state = town.run(threshold=80)
    assert word(state) == "proved", state.message
    assert any(5 in replicas for replicas in town.replicas())
    assert (town.asked, len(town.operations("partition-rebalance"))) == ([4, 5], 2)


def test_two_scalings_of_a_cluster_at_once_are_refused(town: Town) -> None:
    with Ledger.open(Config.load().ledger_url()) as ledger:
        other = ledger.begin(JOB, "run", cluster="local", resources=[], who="x", parameters={})
        ledger.claim(["local/:fleet"], other)
        with other.keep_alive():
            state = town.run()
    assert word(state) == "refused"
    assert f"{JOB} {other.id}" in str(state.message)


def test_a_fleet_that_can_t_add_any_ends_the_run_with_what_it_says(town: Town) -> None:
    (town.folder / "broken.sh").write_text("echo 'no quota left' >&2; exit 3\n")
    town.settings(script="broken.sh")
    state = town.run()
    assert word(state) == "failed"
    assert "clusters.local.fleet.add: ended with exit code 3; its stderr ends with 'no quota left'" in str(
        state.message
    )
    growth = town.growth()
    assert growth is not None
    assert growth.step == "ended"  # the next run decides anew


def test_a_broker_that_was_drained_is_safe_to_remove_and_not_filled_again_by_itself(town: Town) -> None:
    town.settings()
    drain = Rebalance(mode="run", goal="drain_brokers", brokers=[5], throttle=None)
    state = partition_rebalance(drain, return_state=True)
    assert word(state) == "proved", state.message
    assert "broker 5 is safe to remove" in str(state.message)
    evidence = town.operations("partition-rebalance")[0].evidence or {}
    assert (evidence["safe_to_remove"], evidence["still_held"]) == ([5], {"5": []})
    asked, state = town.asked, town.run()
    assert word(state) == "nothing to add"
    assert "broker 5 is there, empty, and drained on purpose" in str(state.message)
    assert town.asked == asked
