"""A correction that waits for approval: followed, approved and refused from the command line, run by a real worker."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Running, Scheduled, Suspended
from typer.testing import CliRunner

from deployments.cli import app
from deployments.follow import follow
from deployments.local.stack import Stack
from deployments.worker import start_worker
from redrive.cli import exit_code
from redrive.errors import RedriveError, UnavailableError
from redrive.ledger import Ledger
from tasks.approval import WAITS
from tests.stack.clinic import Clinic

pytestmark = pytest.mark.timeout(400)

PROGRAM = [sys.executable, "-c", "from deployments.cli import main; main()"]


@pytest.fixture(scope="module")
def clinic(stack: Stack, own_prefect: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    """A platform where every correction has to be approved, and a worker."""
    with pytest.MonkeyPatch.context() as patch:
        given = stack.environment() | own_prefect.environment()
        for name, value in given.items():
            patch.setenv(name, value)
        clinic = Clinic(stack, tmp_path_factory.mktemp("clinic"), patch)
        clinic.settings('approval = "required"')
        patch.setenv("REDRIVE_CONFIG", str(clinic.file))
        environment = {name: value for name, value in given.items() if not name.startswith("REDRIVE_")}
        log = tmp_path_factory.mktemp("logs") / "worker.log"
        with start_worker(environment | {"REDRIVE_CONFIG": str(clinic.file)}, log):
            yield clinic


@pytest.fixture(autouse=True)
def _environment(clinic: Clinic, stack: Stack, own_prefect: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    given = stack.environment() | own_prefect.environment()
    for name, value in given.items():
        if name.startswith("REDRIVE_"):
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("REDRIVE_CONFIG", str(clinic.file))
    with temporary_settings(updates={PREFECT_API_URL: given["PREFECT_API_URL"]}):
        yield


@pytest.fixture
def prefect() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


class Followed:
    """``redrive run dlq-correction`` in a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._said = folder / "said"
        command = [*PROGRAM, "run", "dlq-correction", "--mode", "run", "--rules", "rules.yaml", "--json", *options]
        with self._said.open("w") as said:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)

    def said(self) -> list[str]:
        return self._said.read_text().splitlines()

    def waits(self) -> tuple[str, str]:
        """Wait until it says that the run waits for approval; gives the run's id, and that line."""
        deadline = time.monotonic() + 120
        while not (lines := [line for line in self.said() if line.startswith("waits for approval")]):
            assert time.monotonic() < deadline, self.said()
            assert self.process.poll() is None, self.said()
            time.sleep(0.2)
        return self.said()[0].split()[1], lines[0]

    def end(self) -> tuple[int, dict[str, object]]:
        out, _ = self.process.communicate(timeout=120)
        return self.process.returncode, json.loads(out)


def approve(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["approve", *arguments])
    if isinstance(result.exception, RedriveError):  # as deployments.cli.main does
        return exit_code(result.exception), str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_a_run_is_followed_while_it_waits_and_goes_on_when_it_is_approved(clinic: Clinic, tmp_path: Path) -> None:
    clinic.publish({"id": "1"}, {"id": "not selected"})
    clinic.triage()
    run = Followed(tmp_path, "--id", f"{clinic.dead_letters}/0/0")
    run_id, line = run.waits()
    assert f"redrive approve {run_id} --reason WHY, or Resume on its page: http" in line
    assert line.endswith(f"/runs/flow-run/{run_id}")
    assert not clinic.read(clinic.orders)

    code, said = approve(run_id[:13], "--name", "Zoë", "--reason", "looked at all of it")

    assert code == 0, said
    with Ledger.open(clinic.config.ledger_url()) as ledger:
        digest = ledger.operation(run_id).plan_digest
    assert digest is not None
    assert said.startswith(f"plan {digest[:16]}…: 1 of 1 letter would be published\napproved by Zoë")
    code, end = run.end()
    assert (code, end["ended"], end["published"]) == (0, "proved", 1), run.said()
    assert run.said().count(line) == 1
    assert clinic.fates() == {0: "published", 1: "none"}
    with Ledger.open(clinic.config.ledger_url()) as ledger:
        (entry,) = [entry for entry in ledger.entries(run_id) if entry.kind == "approved"]
    assert entry.body == {"by": "Zoë", "reason": "looked at all of it", "digest": digest}

    code, said = approve(run_id, "--reason", "again")
    assert code == 2
    assert "does not wait for approval: it is completed" in said


def test_a_refused_run_ends_and_has_changed_nothing(clinic: Clinic, tmp_path: Path) -> None:
    clinic.publish({"id": "2"})
    clinic.triage()
    before, events = clinic.fates(), len(clinic.read(clinic.orders))
    run = Followed(tmp_path)
    run_id, _ = run.waits()

    code, said = approve("ffffffff", "--reason", "x")
    assert code == 2
    assert "no run 'ffffffff' waits for approval; those that do: " in said
    assert run_id in said
    code, said = approve(run_id, "--refuse", "--reason", "wrong rules", "--name", "Zoë")

    assert code == 0, said
    code, end = run.end()
    assert (code, end["ended"]) == (1, "refused"), run.said()
    assert "Zoë has refused it: wrong rules" in str(end["message"])
    assert clinic.fates() == before
    assert len(clinic.read(clinic.orders)) == events
    with Ledger.open(clinic.config.ledger_url()) as ledger:
        assert ledger.operation(run_id).status == "refused"


def test_a_run_that_no_worker_takes_after_its_approval_is_given_up_on(prefect: SyncPrefectClient) -> None:
    @flow
    def nothing() -> None: ...

    run = prefect.create_flow_run(nothing, tags=[WAITS])
    prefect.set_flow_run_state(run.id, Running(), force=True)
    prefect.set_flow_run_state(run.id, Suspended(), force=True)
    heard: list[bool] = []

    def resume() -> None:
        time.sleep(3)
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(UUID(str(run.id)), Scheduled(name="Resuming"), force=True)

    thread = threading.Thread(target=copy_context().run, args=(resume,))
    thread.start()
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="no worker has taken the run within 2 s"):
        follow(prefect, run.id, lambda moment: heard.append(moment.asks), nobody=2)
    thread.join()
    assert time.monotonic() - began >= 5
    assert set(heard) == {True, False}
