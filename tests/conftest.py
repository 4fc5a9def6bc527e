"""The stacks that tests run against.

``stack`` is one for the whole run, started when the first test asks for it and shared by the workers of xdist; its
nodes are not to be stopped. ``fault_stack`` is a module's own, for tests that kill and freeze nodes. ``own_prefect`` is
a module's own server of Prefect: a worker takes the runs of everybody, and automations see them.

With ``REDRIVE_TEST_STACK`` set to the folder of a stack that runs (``.redrive/local`` after ``redrive local up``),
tests use that one and leave it running.
"""

from __future__ import annotations

import functools
import os
import re
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
import typer.testing

from deployments.local.stack import Stack
from deployments.local.state import locked

# Typer makes all commands anew at each call, in three times the time that most of them take.
typer.testing._get_command = functools.cache(typer.main.get_command)  # type: ignore[attr-defined]

FOLDER = "REDRIVE_TEST_STACK"
_our_own = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    # The process that the user has started names the folder; workers find the name in their environment.
    if FOLDER not in os.environ:
        folder = Path(tempfile.mkdtemp(prefix="redrive-tests-"))
        os.environ[FOLDER] = str(folder)
        config.stash[_our_own] = folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # A broker or a server that such a test starts may be starved on a busy machine. Once more, and it is told below.
    # Not where things are made to crash, or producers are switched: there it may be an event that was lost once.
    for item in items:
        kind, *inside = item.path.relative_to(config.rootpath / "tests").parts
        if kind == "stack" and inside[0] != "migrations" and "crash" not in item.path.name:
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show in full why tests failed that have passed at their second try: each is something to be mended."""
    for report in terminalreporter.stats.get("rerun", ()):
        terminalreporter.section(f"first try of {report.nodeid}", sep="-")
        terminalreporter.line(report.longreprtext)


def pytest_unconfigure(config: pytest.Config) -> None:
    if folder := config.stash.get(_our_own, None):
        Stack(folder).down(wipe=True)
        del os.environ[FOLDER]


@pytest.fixture(scope="session")
def stack() -> Stack:
    """The stack of this test run, all nodes serving."""
    folder = Path(os.environ[FOLDER])
    with locked(folder / "tests.lock"):
        if not (folder / "stack.json").exists():
            # It ends with the process that the user has started, not with the worker that is the first to need it.
            in_worker = "PYTEST_XDIST_WORKER" in os.environ
            Stack(folder, "free").up(owner=os.getppid() if in_worker else os.getpid())
    return Stack.attach(folder)


@pytest.fixture(autouse=True)
def _pointed_at_the_stack(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the environment of each test at the stack that it uses, and of no other test."""
    for name in ("stack", "fault_stack", "own_prefect"):
        if name in request.fixturenames:
            for variable, value in request.getfixturevalue(name).environment().items():
                monkeypatch.setenv(variable, value)


@pytest.fixture(scope="module")
def _own_stack() -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="redrive-faults-"))
    stack = Stack(folder, "free", prefect=False)
    try:
        stack.up()
        yield stack
    finally:
        stack.down(wipe=True)


@pytest.fixture
def fault_stack(_own_stack: Stack) -> Stack:
    """A stack to break: three brokers, DynamoDB and registry, all serving when the test begins."""
    _own_stack.resume(*(node.node for node in _own_stack.status() if node.state == "paused"))
    _own_stack.start(*_own_stack.nodes)
    return _own_stack


@pytest.fixture(scope="module")
def own_prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A server of Prefect that nobody else uses, and nothing beside it."""
    with Stack(tmp_path_factory.mktemp("prefect"), "free", only_prefect=True) as stack:
        yield stack


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A beginning for names of topics, tables and groups that no other test has."""
    test = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40]
    return f"{test}-{uuid.uuid4().hex[:8]}"
