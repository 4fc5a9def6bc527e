"""`redrive up` where a local stack runs already: what its jobs take from that, and what they do not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments import up
from deployments.local.process import Launch, spawn, stop
from deployments.local.state import State, StateFile

PORTS = {"kafka-1": [1, 2], "dynamodb": [3], "registry": [4], "prefect": [5]}
SLEEP = Launch([sys.executable, "-c", "import time; time.sleep(600)"], {})


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Path]:
    """The folder of a stack with everything, as `redrive local up` leaves it."""
    node = spawn(SLEEP, tmp_path / "log")
    StateFile(tmp_path).save(State(ports=PORTS, processes={"dynamodb": node}, detached=True))
    try:
        yield tmp_path
    finally:
        stop([node], patience=0)


def taken(data: Path, *, local: bool, prefect: str | None = None) -> dict[str, str]:
    with temporary_settings(updates={PREFECT_API_URL: prefect}, restore_defaults={PREFECT_API_URL}), ExitStack() as end:
        stack = up._bring_up(data, local, "default", None, end)
        return {} if stack is None else up._environment(stack, local, bool(prefect))


def test_without_a_local_stack_jobs_take_its_prefect_and_neither_its_clusters_nor_its_table(running: Path) -> None:
    found = taken(running, local=False)
    assert found["PREFECT_API_URL"] == "http://127.0.0.1:5/api"
    assert [name for name in found if not name.startswith("PREFECT_")] == []


def test_with_it_they_take_all_of_it(running: Path) -> None:
    found = taken(running, local=True)
    assert found["REDRIVE_CLUSTERS__LOCAL__BOOTSTRAP"] == "127.0.0.1:1"
    assert found["REDRIVE_STANDBY__ENDPOINT"] == "http://127.0.0.1:3"
    assert found["PREFECT_API_URL"] == "http://127.0.0.1:5/api"


def test_a_prefect_that_was_named_is_the_one_that_counts(running: Path) -> None:
    elsewhere = "http://prefect.example/api"
    found = taken(running, local=True, prefect=elsewhere)
    assert found["REDRIVE_STANDBY__ENDPOINT"] == "http://127.0.0.1:3"
    assert [name for name in found if name.startswith("PREFECT_")] == []
    assert taken(running, local=False, prefect=elsewhere) == {}


@pytest.mark.parametrize("local", [True, False])
def test_clusters_that_the_jobs_do_not_take_are_not_shown_as_theirs(
    running: Path, local: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    up._show(up._stack_in(running), local)
    shown = capsys.readouterr().out
    assert "http://127.0.0.1:5/api" in shown
    assert ("Kafka" in shown, "DynamoDB" in shown, "schema registry" in shown) == (local, local, local)
