"""Approval of a correction: a deployed run suspends, and goes on, or not, by what a person says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.server.schemas.responses import SetStateStatus
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.follow import End, follow, start
from deployments.local.stack import Stack
from deployments.worker import start_worker
from deployments.worker_process import Worker
from redrive.deadletters.fate import Fate
from redrive.deadletters.selection import Selection
from redrive.ledger import Ledger
from tasks.approval import WAITS
from tests.stack.clinic import RULES, Clinic
from tests.stack.platform import ORDER

pytestmark = pytest.mark.timeout(400)
PATIENCE = 90


@pytest.fixture(scope="module")
def given(stack: Stack, own_prefect: Stack) -> dict[str, str]:
    return stack.environment() | own_prefect.environment()


@pytest.fixture(scope="module")
def clinic(stack: Stack, given: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        clinic = Clinic(stack, tmp_path_factory.mktemp("clinic"), patch)
        clinic.settings("approval = 1\nfour_eyes = true")
        yield clinic


@pytest.fixture(scope="module")
def worker(given: dict[str, str], clinic: Clinic, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    environment = {name: value for name, value in given.items() if not name.startswith("REDRIVE_")} | {
        "REDRIVE_CONFIG": str(clinic.file)
    }
    with start_worker(environment, tmp_path_factory.mktemp("logs") / "worker.log") as worker:
        yield worker


@pytest.fixture
def prefect(given: dict[str, str], worker: Worker) -> Iterator[SyncPrefectClient]:
    with (
        temporary_settings(updates={PREFECT_API_URL: given["PREFECT_API_URL"]}),
        get_client(sync_client=True) as client,
    ):
        yield client


@pytest.fixture
def waiting(clinic: Clinic, prefect: SyncPrefectClient) -> UUID:
    """A run of two letters that waits for approval."""
    (clinic.file.parent / "rules.yaml").write_text(RULES)
    clinic.publish({"id": "1"}, {"id": "2"})
    clinic.triage()
    parameters = {"mode": "run", "rules": "rules.yaml"}
    run = start(prefect, "dlq-correction", {"correction": parameters}, "anna").id
    deadline = time.monotonic() + PATIENCE
    while WAITS not in (run_now := prefect.read_flow_run(run)).tags:
        assert time.monotonic() < deadline
        assert run_now.state is None or not run_now.state.is_final(), run_now.state
        time.sleep(0.3)
    return run


def answer(prefect: SyncPrefectClient, run: UUID, decision: str, name: str = "bert") -> End:
    said = {"decision": decision, "name": name, "reason": "because"}
    assert prefect.resume_flow_run(run, run_input=said).status == SetStateStatus.ACCEPT
    return follow(prefect, run, lambda _: None)


def journal(clinic: Clinic, run: UUID) -> dict[str, dict[str, Any]]:
    with Ledger.open(clinic.config.ledger_url()) as ledger:
        return {entry.kind: entry.body for entry in ledger.entries(str(run))}


def test_an_approved_plan_is_carried_out_as_it_was_shown(
    clinic: Clinic, prefect: SyncPrefectClient, waiting: UUID
) -> None:
    published = len(clinic.read(clinic.orders))
    assert WAITS in prefect.read_flow_run(waiting).tags
    with Ledger.open(clinic.config.ledger_url()) as ledger:
        assert ledger.operation(str(waiting)).status == "paused"
    clinic.publish({"id": "3"})  # came later, and is no part of what was approved
    clinic.triage()

    end = answer(prefect, waiting, "approve")

    assert end.word == "proved", end.message
    assert len(clinic.read(clinic.orders)) == published + 2
    said = journal(clinic, waiting)["approved"]
    assert (said["by"], said["reason"]) == ("bert", "because")
    with Ledger.open(clinic.config.ledger_url()) as ledger:
        assert said["digest"] == ledger.operation(str(waiting)).plan_digest


def test_a_refused_plan_is_not_carried_out(clinic: Clinic, prefect: SyncPrefectClient, waiting: UUID) -> None:
    published = len(clinic.read(clinic.orders))

    end = answer(prefect, waiting, "refuse")

    assert end.word == "refused", end.message
    assert "bert has refused it: because" in end.message
    assert len(clinic.read(clinic.orders)) == published


def test_a_plan_that_changed_meanwhile_is_refused_with_what_moved(
    clinic: Clinic, prefect: SyncPrefectClient, waiting: UUID
) -> None:
    published = len(clinic.read(clinic.orders))
    (clinic.file.parent / "rules.yaml").write_text(RULES.replace("numbers as text", "renamed"))

    end = answer(prefect, waiting, "approve")

    assert end.word == "refused", end.message
    assert "the plan is stale: rules was" in end.message
    assert len(clinic.read(clinic.orders)) == published


def test_a_letter_that_was_discarded_and_a_schema_that_is_another_are_named(
    clinic: Clinic, prefect: SyncPrefectClient, waiting: UUID
) -> None:
    published = len(clinic.read(clinic.orders))
    with Ledger.open(clinic.config.ledger_url()) as ledger:
        letter = ledger.letters.find(Selection())[-1]
        about: dict[str, Any] = {"cluster": "one", "resources": [], "who": "anna", "parameters": {}}
        operation = ledger.begin("dlq-discard", "run", **about)
        ledger.letters.record_fates(operation, [Fate(letter.id, "discarded")])
        operation.finish("done")
    more = {"name": "more", "type": ["null", "string"], "default": None}
    clinic.register(f"{clinic.orders}-value", ORDER | {"fields": [*ORDER["fields"], more]})

    end = answer(prefect, waiting, "approve")

    assert end.word == "refused", end.message
    assert f"targets › one › {clinic.orders} was " in end.message
    assert "outcomes › publish was " in end.message
    assert f"content › one:{clinic.dead_letters} › publish has changed" in end.message
    assert len(clinic.read(clinic.orders)) == published


def test_whoever_started_a_run_can_not_approve_it(clinic: Clinic, prefect: SyncPrefectClient, waiting: UUID) -> None:
    end = answer(prefect, waiting, "approve", name="Anna")

    assert end.word == "refused", end.message
    assert "somebody else has to approve it" in end.message
