"""``redrive up``: all of it on one machine, by one command."""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn, TextIO

import typer

from deployments.local.cli import DATA, Clusters, Data, kafka_rows, names_of, stack_class
from redrive.cli.output import note, show_table
from redrive.config import Config
from redrive.config.reading import find_file
from redrive.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from deployments.local.stack import Stack
    from deployments.local.state import PortChoice
    from deployments.worker_process import Worker


def up(
    data: Data = DATA,
    local: Annotated[
        bool, typer.Option(help="With a local stack; else the clusters are those of the settings, and must be there.")
    ] = True,
    ports: Annotated[
        Literal["default", "free"], typer.Option(help="The stack's well-known ports, or any free ones.")
    ] = "default",
    clusters: Clusters = "",
) -> None:
    """Start what is missing (stack, Prefect, work pool), deploy the jobs, and run them until Ctrl-C.

    Prefect is the one that PREFECT_API_URL names; without that, one is started here. Ctrl-C stops what this has
    started, and the data stay; runs under way end first, as if they were cancelled, or, by a second Ctrl-C, at once.
    Called again while it runs, it says where all is, and starts nothing.
    """
    if clusters and not local:
        raise ConfigError("--clusters", "names clusters of the local stack; leave it or --no-local out")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with _only_one(data) as first:
        if not first:
            note(f"It runs already, in {data.absolute()}.")
            _show(_stack_in(data), local)
            return
        try:
            with ExitStack() as stopping:
                _start(data, local, ports, names_of(clusters), stopping)
        except KeyboardInterrupt:
            note("stopped")


def _start(data: Path, local: bool, ports: PortChoice, clusters: list[str] | None, stopping: ExitStack) -> NoReturn:
    """Start all of it, and stay; what is started is stopped by ``stopping``."""
    from prefect.context import refresh_global_settings_context

    from deployments.automations import apply
    from deployments.follow import connected
    from deployments.worker import start_worker

    # Before anything is started. What a local stack will add to the settings is known only when it runs.
    find_file() if local else Config.load()
    named = bool(_prefect_url())
    stack = _bring_up(data, local, ports, clusters, stopping)
    if stack is not None:
        os.environ.update(_environment(stack, local, named))
        refresh_global_settings_context()  # Prefect has read its settings when it was imported
    # Runs are processes with another working folder.
    os.environ["REDRIVE_CONFIG"] = str(find_file())
    config = Config.load()
    if local:
        _prepare(config)
    url = _prefect_url()
    log = data.absolute() / "logs" / "worker.log"
    worker = stopping.enter_context(start_worker({"PREFECT_API_URL": url}, log, report=note))
    with connected() as client:
        try:
            told = apply(client, config.notifications.block)
        except ConfigError as error:  # the block is made in the UI, which is up by now
            note(f"nobody is notified yet: {error}; then `redrive automations`")
        else:
            by = config.notifications.block
            note(f"{len(told)} automations notify by {by}" if told else "no automation notifies anybody")
    metrics = _metrics(config, stopping)
    _show(stack, local, metrics)
    note(f"Commands in other terminals find all of it after: {_way_in(data, local, url, named)}")
    note("The jobs are deployed and their worker runs. Ctrl-C ends what this has started; the data stay.")
    try:
        while True:
            worker.look_after(note)
            time.sleep(1)
    except KeyboardInterrupt:
        _end_runs(worker)
        raise


def _end_runs(worker: Worker) -> None:
    """Give runs the time to end by themselves: a worker that is told to end kills them."""
    note("the runs under way end first; Ctrl-C once more ends them at once")
    try:
        worker.end_runs()
    except KeyboardInterrupt:
        worker.kill()
        raise


def _way_in(data: Path, local: bool, url: str, named: bool) -> str:
    """Give what to type in another terminal, so that its commands see what this has started."""
    prefect = f"export PREFECT_API_URL={url}"
    if not local:
        return prefect
    of = "" if data == DATA else f" --data {shlex.quote(str(data.absolute()))}"
    stack = f'eval "$(redrive local env{of})"'
    return f"{stack}; {prefect}" if named else stack


def _metrics(config: Config, stopping: ExitStack) -> str:
    """Tell metrics of the jobs; give where. Nothing else waits for a port that is taken."""
    from redrive.metrics import served

    if not config.jobs.admin_port:
        return ""
    try:
        return stopping.enter_context(served(config))
    except UnavailableError as error:
        note(f"{error}; the jobs run without")
        return ""


def _bring_up(
    data: Path, local: bool, ports: PortChoice, clusters: list[str] | None, stopping: ExitStack
) -> Stack | None:
    """Start the nodes that are needed and do not run; None if none are needed."""
    with_prefect = not _prefect_url()
    if not local and not with_prefect:
        return None
    stack = stack_class()(data, ports, prefect=with_prefect, only_prefect=not local, clusters=clusters)
    if stack.runs():  # somebody else's, such as that of `redrive local up`: it stays when this ends
        running = stack_class().attach(data, clusters)
        if local and not running.brokers:
            raise ConfigError("--data", f"in {data} runs Prefect only; stop it with `redrive local down`")
        if with_prefect and "prefect" not in running.nodes:
            way_out = "stop it with `redrive local down`, or name a server by PREFECT_API_URL"
            raise ConfigError("--data", f"in {data} runs a stack without Prefect; {way_out}")
        if not local and running.brokers:
            note(f"In {data} runs a local stack: only its Prefect is used, and the clusters are those of the settings.")
        return running
    stopping.callback(lambda: note("stopping"))
    stack.up(report=note)
    stopping.callback(stack.down)
    return stack


def _environment(stack: Stack, local: bool, named: bool) -> dict[str, str]:
    """Give the variables of a stack that the jobs are to have: a stack that ran already may have more than was asked.

    Args:
        stack: the one that runs.
        local: take its clusters; else they are those of the settings, and only its Prefect counts.
        named: leave its Prefect out, as another one was named.
    """
    found = stack.environment().items()
    return {name: value for name, value in found if (not named if name.startswith("PREFECT_") else local)}


def _prepare(config: Config) -> None:
    """Make the standby table and the topics, which a fresh stack lacks."""
    from redrive.standby.drain import open_store
    from redrive.topics import apply_topics

    open_store(config).create()
    failed = [f"{change.name}: {change.reason}" for change in apply_topics(config) if change.outcome == "failed"]
    if failed:
        raise UnavailableError("the local stack", "; ".join(failed))


def _prefect_url() -> str:
    from prefect.settings import PREFECT_API_URL

    return PREFECT_API_URL.value() or ""


def _stack_in(data: Path) -> Stack | None:
    from deployments.local.errors import StackError

    try:
        return stack_class().attach(data)
    except StackError:
        return None


def _show(stack: Stack | None, local: bool, metrics: str = "") -> None:
    """Print where everything is; of a stack only Prefect, if its clusters are not ``local`` ones."""
    from prefect.settings import PREFECT_UI_URL

    endpoints = stack.endpoints if stack else None
    rows = [
        *(kafka_rows(endpoints) if endpoints and local else []),
        ("DynamoDB", endpoints.dynamodb if endpoints and local else ""),
        ("schema registry", endpoints.registry if endpoints and local else ""),
        ("Prefect API", (endpoints.prefect_api if endpoints else None) or _prefect_url()),
        ("Prefect UI", (endpoints.prefect_ui if endpoints else None) or PREFECT_UI_URL.value() or ""),
        ("metrics", metrics),
    ]
    show_table(("what", "where"), [row for row in rows if row[1]])


@contextmanager
def _only_one(data: Path) -> Iterator[bool]:
    """Say whether this is the only one for a folder; it is for as long as the block runs, or the process lives."""
    data.mkdir(parents=True, exist_ok=True)
    with (data / "up.lock").open("w") as file:
        yield _locked(file)


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
