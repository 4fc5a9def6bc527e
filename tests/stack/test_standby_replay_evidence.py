"""What runs of `standby-replay` that were killed have published is proved all the same, and kept until it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import AwaitingRetry

import flows.standby_replay
import tasks.standby_replay.earlier
import tasks.standby_replay.verify
from deployments.local.stack import Stack
from flows.standby_replay import Replay, standby_replay
from redrive.errors import UnavailableError
from redrive.ledger import Ledger
from redrive.pump.proof import Proof
from redrive.pump.readback import end_offsets
from redrive.standby.survey import survey
from tests.stack.backlog import Backlogs, by_key, word

pytestmark = pytest.mark.timeout(300)


class DiedError(Exception):
    """Stands for the end of a process."""


@pytest.fixture
def platform(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backlogs]:
    """A platform with two topics, on which flows run in this process."""
    platform = Backlogs(stack, tmp_path, "orders", "refunds", lanes=1)
    for name, value in platform.environment.items():
        monkeypatch.setenv(name, value)
    platform.create()
    settings = {PREFECT_API_URL: stack.environment()["PREFECT_API_URL"], PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(updates=settings):
        yield platform


def replay(**parameters: Any) -> State[Any]:
    """Run the flow to its end."""
    return standby_replay(Replay(mode="run", settle=0, **parameters), return_state=True)


def retry(state: State[Any]) -> State[Any]:
    """Do as Retry in Prefect's UI: the same flow run, once more."""
    run_id = state.state_details.flow_run_id
    assert run_id is not None
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run_id, AwaitingRetry(), force=True)
        run = client.read_flow_run(run_id)
    result = run_flow(standby_replay, flow_run=run, parameters=run.parameters, return_type="state")
    assert isinstance(result, State)
    assert result.state_details.flow_run_id == run_id
    return result


def replay_until_all_is_published(monkeypatch: pytest.MonkeyPatch, **parameters: Any) -> State[Any]:
    """Run the flow until it would begin to prove what it has published."""

    def die(*_: object, **__: object) -> None:
        raise DiedError

    with monkeypatch.context() as patch:
        patch.setattr(flows.standby_replay, "verify_all_earlier", die)
        state = replay(**parameters)
        assert state.is_failed()
        return state


def untidy(platform: Backlogs) -> dict[str, bool]:
    """Say of which topics the store still has what was published."""
    lanes = survey(platform.store, platform.cluster)
    return {lane.lane.topic.partition("-")[0]: lane.untidy for lane in lanes}


def found_of_earlier_runs(platform: Backlogs) -> dict[str, int]:
    with Ledger.open(platform.config.ledger_url()) as ledger:
        operations = ledger.operations()
    numbers = {row.id: number for number, row in enumerate(reversed(operations))}
    return {f"run {numbers[id_]}": found for id_, found in (operations[0].evidence or {})["earlier"].items()}


@pytest.mark.parametrize("away", [False, True])
def test_the_evidence_of_a_killed_run_outlives_the_next_one_that_is_killed(
    platform: Backlogs, monkeypatch: pytest.MonkeyPatch, away: bool
) -> None:
    orders, refunds = platform.topics
    ids, others = platform.fill(orders, 300), platform.fill(refunds, 50)
    replay_until_all_is_published(monkeypatch)
    ids += platform.fill(orders, 200)
    answers = iter([not away])
    read = tasks.standby_replay.earlier.read_cursor

    def read_later(*given: Any, **options: Any) -> bytes | None:
        """The cluster may be away when the next run begins, and back when it comes to the lane."""
        if not next(answers, True):
            raise UnavailableError("Kafka", "no answer")
        return read(*given, **options)

    monkeypatch.setattr(tasks.standby_replay.earlier, "read_cursor", read_later)
    # Of this topic alone: it can't prove the first run, but takes the place of its checkpoints.
    replay_until_all_is_published(monkeypatch, topics=[orders])

    ids += platform.fill(orders, 100)
    assert word(replay()) == "proved"

    assert found_of_earlier_runs(platform) == {"run 0": 350, "run 1": 200}
    assert platform.ids_by_key(orders) == by_key(ids)
    assert platform.ids_by_key(refunds) == by_key(others)
    assert word(replay()) == "nothing to replay"


def test_what_was_published_stays_in_the_store_until_it_is_proved(
    platform: Backlogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders, refunds = platform.topics
    platform.fill(orders, 100)
    platform.fill(refunds, 100)
    replay_until_all_is_published(monkeypatch)
    assert untidy(platform) == {"orders": True, "refunds": True}

    assert word(replay()) == "proved"
    assert word(replay()) == "nothing to replay"
    assert untidy(platform) == {"orders": False, "refunds": False}


def test_what_was_not_proved_stays_in_the_store_until_a_later_replay_of_its_topic_is(
    platform: Backlogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders, refunds = platform.topics
    platform.fill(orders, 100)
    platform.fill(refunds, 100)
    prove = tasks.standby_replay.verify.prove

    def prove_wrongly(client: Any, units: Any, **options: Any) -> Proof:
        proof = prove(client, units, **options)
        wrong = any(orders in topics for topics in units.values())
        return replace(proof, verdict="failed", findings=["1 events are missing"]) if wrong else proof

    with monkeypatch.context() as patch:
        patch.setattr(tasks.standby_replay.verify, "prove", prove_wrongly)
        state = replay()
        assert word(state) == "failed"
    assert word(replay()) == "nothing to replay"
    assert word(retry(state)) == "nothing to replay", "nothing waits any more; but what was found wrong stays wrong"
    assert word(replay()) == "nothing to replay"
    assert untidy(platform) == {"orders": True, "refunds": False}

    platform.fill(orders, 1)
    assert word(replay()) == "proved"
    assert untidy(platform) == {"orders": False, "refunds": False}


def test_a_run_that_is_retried_proves_what_it_had_published_before(
    platform: Backlogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders, _ = platform.topics
    ids = platform.fill(orders, 300)
    state = replay_until_all_is_published(monkeypatch)
    ids += platform.fill(orders, 100)

    assert word(retry(state)) == "proved"

    assert found_of_earlier_runs(platform) == {"run 0": 300}
    assert platform.ids_by_key(orders) == by_key(ids)
    assert word(retry(state)) == "nothing to replay"
    assert untidy(platform)["orders"] is False


def test_what_was_found_wrong_is_told_though_another_topic_can_not_be_read_back_and_that_one_is_proved_by_the_next_run(
    platform: Backlogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders, refunds = platform.topics
    platform.fill(orders, 100)
    platform.fill(refunds, 200)
    prove = tasks.standby_replay.verify.prove

    def prove_wrongly(client: Any, units: Any, **options: Any) -> Proof:
        if any(refunds in topics for topics in units.values()):
            raise UnavailableError("Kafka", "no answer")
        return replace(prove(client, units, **options), verdict="failed", findings=["1 events are missing"])

    with monkeypatch.context() as patch:
        patch.setattr(tasks.standby_replay.verify, "prove", prove_wrongly)
        patch.setattr(tasks.standby_replay.verify.verify_topic, "retries", 0)
        state = replay()
    assert word(state) == "failed"
    assert "1 events are missing" in str(state.message)
    with Ledger.open(platform.config.ledger_url()) as ledger:
        (operation,) = ledger.operations()
    assert operation.evidence is not None
    assert "no answer" in operation.evidence["unverified"]
    assert untidy(platform) == {"orders": True, "refunds": True}

    assert word(replay()) == "proved"
    assert found_of_earlier_runs(platform) == {"run 0": 200}
    assert word(replay()) == "nothing to replay"
    assert untidy(platform) == {"orders": True, "refunds": False}


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize(("share", "verdict"), [(0.5, "counted"), (1.0, "failed")])
def test_a_compacted_topic_may_lack_what_has_a_later_event_of_its_key_and_nothing_else(
    platform: Backlogs, monkeypatch: pytest.MonkeyPatch, share: float, verdict: str, killed: bool
) -> None:
    """What comes between the replay and its proof, by this run or the next, takes each key's older ones, or all."""
    orders, _ = platform.topics
    client = platform.config.cluster(platform.cluster).client_config()
    admin = AdminClient(client)
    policy = ConfigEntry("cleanup.policy", "compact,delete", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, orders, incremental_configs=[policy])
    admin.incremental_alter_configs([resource])[resource].result()
    platform.fill(orders, 600)
    prove = tasks.standby_replay.verify.prove

    def prove_later(*given: Any, **options: Any) -> Proof:
        cut = [TopicPartition(orders, p, int(end * share)) for p, end in enumerate(end_offsets(client, orders))]
        for done in admin.delete_records(cut).values():
            done.result()
        return prove(*given, **options)

    monkeypatch.setattr(tasks.standby_replay.verify, "prove", prove_later)
    if killed:
        with monkeypatch.context() as patch:
            patch.setattr(tasks.standby_replay.verify, "prove", prove)
            replay_until_all_is_published(patch)
    state = replay()
    assert state.is_completed() is (verdict == "counted")
    with Ledger.open(platform.config.ledger_url()) as ledger:
        operation = ledger.operations()[0]
    assert operation.verdict == verdict
    assert operation.evidence is not None
    if not killed:
        assert (operation.evidence["topics"][0]["superseded"] > 200) is (verdict == "counted")
    assert any("is the newest event of its key" in finding for finding in operation.evidence["findings"]) is (
        verdict == "failed"
    )
