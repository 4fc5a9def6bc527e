"""The demo's flights on a stack of its own: some published, some stored while brokers are away, and jobs for them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from deployments.demo.flights import PRODUCER, TOPIC, flights
from deployments.follow import artifacts_of, follow, start
from deployments.local.stack import Stack
from deployments.worker import ROOT, start_worker
from redrive.config import Config
from redrive.producer import EventProducer
from redrive.topics import apply_topics
from tasks.approval import Approval, is_asking, send_answer
from tasks.cluster_health.steps import artifact_key
from tasks.live import LIVE, PROGRESS

PATIENCE = 240.0
WHO = "anna"
BROKERS = ["kafka-1", "kafka-2", "kafka-3"]


class Airport:
    """A stack with the settings of the demo, a worker, and no run that anybody but us has started.

    Args:
        stack: serves; nobody else uses it.
        folder: for the ledger and logs.
    """

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._stack, self._closing = stack, ExitStack()
        settings = {
            "REDRIVE_CONFIG": str(ROOT / "redrive.toml"),
            "REDRIVE_LEDGER__URL": f"sqlite:///{folder / 'ledger.db'}",
            # All of them wait for approval, however little they do.
            **{f"REDRIVE_{jobs}__APPROVAL": "required" for jobs in ("CORRECTIONS", "BACKFILLS", "REBALANCING")},
        }
        environment = {**stack.environment(), **settings}
        os.environ.update(environment)
        self.config = Config.load()
        apply_topics(self.config)
        self.client = self._closing.enter_context(SyncPrefectClient(environment["PREFECT_API_URL"]))
        self._closing.enter_context(start_worker(environment, folder / "worker.log", report=print))
        self._be_quiet()
        self._flights = flights()

    def __enter__(self) -> Airport:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def _be_quiet(self) -> None:
        """Have nothing start by the clock or by an event: it would be in the pictures, or do the work before us."""
        for deployment in self.client.read_deployments():
            for schedule in deployment.schedules:
                self.client.update_deployment_schedule(deployment.id, schedule.id, active=False)
        for automation in self.client.read_automations():
            self.client.pause_automation(automation.id)

    def publish(self, events: int) -> None:
        """Publish the next flights of the year; those that were cancelled become dead letters."""
        with EventProducer(PRODUCER, self.config, topics=[TOPIC]) as producer:
            for number, plane, event in islice(self._flights, events):
                producer.publish(TOPIC, plane, event, event_id=f"flight-{number}")
            producer.flush()

    def outage(self, meanwhile: Callable[[], None]) -> None:
        """Kill all brokers, do something, and start them again."""
        self._stack.kill(*BROKERS)
        meanwhile()
        for broker in BROKERS:
            self._stack.start(broker, wait=False)
        self._stack.wait_ready(BROKERS)

    def add_broker(self) -> None:
        """Add an empty broker."""
        self._stack.add_broker()
        os.environ.update(self._stack.environment())

    def deployment(self, job: str) -> UUID:
        """Give the id of a job's deployment."""
        return self.client.read_deployment_by_name(f"{job}/{job}").id

    def start(self, job: str, parameters: dict[str, Any]) -> UUID:
        """Start a run."""
        return start(self.client, job, parameters, WHO).id

    def end(self, run: UUID) -> None:
        """Wait for the end of a run, and print it."""
        print(follow(self.client, run, lambda _: None, nobody=PATIENCE).message, flush=True)

    def asks(self, run: UUID) -> None:
        """Wait until a run asks for approval."""
        for _ in self._waiting(run):
            if is_asking(self.client.read_flow_run(run)):
                return

    def approve(self, run: UUID) -> None:
        """Approve what a run has planned."""
        said = Approval(decision="approve", name=WHO, reason="as planned")
        send_answer(self.client, run, said)

    def artifact(self, run: UUID, ending: str) -> str:
        """Wait for an artifact of a run whose key ends so; give its id."""
        for _ in self._waiting(run):
            for key, artifact in artifacts_of(self.client, run).items():
                if key.endswith(ending):
                    return str(artifact.id)
        raise AssertionError

    def live(self, run: UUID, percent: float) -> str:
        """Wait until a run has come so far; give the id of the artifact that says how it goes."""
        for _ in self._waiting(run):
            for key, artifact in artifacts_of(self.client, run).items():
                if key.endswith(PROGRESS) and float(str(artifact.data)) >= percent:
                    return self.artifact(run, LIVE)
        raise AssertionError

    def health(self, cluster: str) -> str:
        """Look at the clusters; give the id of one's artifact."""
        self.end(self.start("cluster-health", {}))
        key = ArtifactFilter(key=ArtifactFilterKey(any_=[artifact_key(cluster)]))
        (artifact,) = self.client.read_artifacts(artifact_filter=key)
        return str(artifact.id)

    def _waiting(self, run: UUID) -> Iterator[None]:
        deadline = time.monotonic() + PATIENCE
        while True:
            yield
            state = self.client.read_flow_run(run).state
            if time.monotonic() > deadline or (state is not None and state.is_final()):
                raise TimeoutError(f"the run does not come to it: {state}")
            time.sleep(0.3)
