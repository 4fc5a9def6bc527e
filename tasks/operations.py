"""A run of a job: its operation in the ledger, beside its flow run in Prefect.

Both have the same id; but where each attempt is an operation of its own, those after the first have ids of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid5

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound, Pause, TerminationSignal
from prefect.runtime import flow_run as runtime
from prefect.states import Crashed

from redrive.clusters import ClusterTopic
from redrive.config import Config
from redrive.errors import FencedError, HeldError
from redrive.ledger import Ledger, OperationRow, Status, Verdict
from redrive.person import person
from tasks.pace import forget
from tasks.paused import PAUSED, RESUME

MOVING = "moving"
"""The journal's word for: from here on, partitions may have moved."""

UNDER_MIN_ISR = "under_min_isr"
"""In that entry: topic and number of the partitions that had too few replicas in sync before."""

ROLLING_BACK = "rolling back"
"""The journal's word for: from here on, what this run has moved goes back."""

ASKED = "approval asked"
"""The journal's word for: a person has to answer."""

WHO_LABEL = "redrive.who"
"""The label of a flow run that names who started it."""


NOBODY = "Prefect UI"
"""Who has started a run by the Run button of Prefect's open-source server, which knows no users."""


class Run:
    """A run of a job that is under way.

    Attributes:
        id: of the operation.
        flow_run: id of the flow run.
        job: the job's name.
        url: where people look at the flow run; empty if there is no such place.
        who: the person, schedule or automation that started it.
        operation: the ledger's handle of it; there once the run has begun.
        lost: set when another run has taken over what this one held; then this one has to stop.
    """

    def __init__(self, ledger: Ledger, flow_run: FlowRun, job: str) -> None:
        self.ledger = ledger
        self.flow_run = self.id = str(flow_run.id)
        self.job = job
        self.url = runtime.ui_url or ""
        self.who = who_started(flow_run)
        self.lost = threading.Event()
        self._ended = False

    def begin(
        self, mode: str, cluster: str, resources: Sequence[str], parameters: dict[str, Any], *, anew: bool = False
    ) -> None:
        """Enter the operation in the ledger.

        If this flow run is being retried, go on with its operation, or, with ``anew``, begin another one.
        """
        if anew:
            self.id = next(id_ for id_ in attempts_of(self.flow_run) if not self.ledger.has(id_))
        self.operation = self.ledger.begin(
            self.job,
            mode,
            cluster=cluster,
            resources=resources,
            who=self.who,
            parameters=parameters,
            run_url=self.url or None,
            operation_id=self.id,
        )

    def keep_plan(self, plan: dict[str, Any]) -> str:
        """Keep the plan in the ledger; give its digest."""
        return self.operation.plan(plan)

    def note(self, kind: str, body: dict[str, Any]) -> None:
        """Add an entry about this run to the journal."""
        self.operation.note(kind, body)

    def claim(self, topics: Sequence[ClusterTopic], *, all_or_none: bool) -> tuple[list[ClusterTopic], list[str]]:
        """Hold topics, so that no other job touches them while this one runs.

        What a dead run held is taken over, and its flow run, which nobody else ends, is ended.

        Args:
            topics: cluster and name of each.
            all_or_none: refuse if any of them is held; otherwise leave that one to whoever holds it.

        Returns:
            The topics that are held now, and for each of the others, who holds it.

        Raises:
            HeldError: another run holds one of them, or, without ``all_or_none``, every one.
        """
        try:
            self.ledger.claim([_resource(topic) for topic in topics], self.operation)
            claimed, refusals = list(topics), list[HeldError]()
        except HeldError as refused:
            if all_or_none or len(topics) == 1:
                raise
            claimed, refusals = [], []
            for topic in topics:
                try:
                    self.ledger.claim([_resource(topic)], self.operation)
                    claimed.append(topic)
                except HeldError as error:
                    refusals.append(error)
            if not claimed:
                raise refused from None
        self._bury_the_dead()
        return claimed, [f"{error.resource} is left to {error.holder}" for error in refusals]

    def earlier(self) -> list[OperationRow]:
        """Give the latest other operations of this job, newest first."""
        return [row for row in self.ledger.operations(50, self.job) if row.id != self.id]

    def worked(self) -> list[OperationRow]:
        """Give the latest other operations of this job that did something, newest first."""
        return [row for row in self.ledger.worked(self.job) if row.id != self.id]

    def finish(
        self,
        status: Status,
        verdict: Verdict | None = None,
        counts: dict[str, int] | None = None,
        evidence: dict[str, Any] | None = None,
    ) -> None:
        """End the operation, once; what it holds is given up."""
        if self._ended:
            return
        self._ended = True
        try:
            self.operation.finish(status, verdict, counts, evidence)
        except FencedError:
            # Another run went on with what this one held. What that one enters stands.
            get_run_logger().warning("the ledger has this operation as taken over by another run")

    def tag(self, client: SyncPrefectClient, word: str, *, instead_of: Iterable[str]) -> None:
        """Give the flow run a tag; those that an earlier attempt of it was given go."""
        tag(client, self.flow_run, word, instead_of=instead_of)

    def untag(self, client: SyncPrefectClient, word: str) -> None:
        """Take a tag from the flow run."""
        run = client.read_flow_run(UUID(self.flow_run))
        client.update_flow_run(run.id, tags=[tag for tag in run.tags if tag != word])

    @property
    def known_plan(self) -> dict[str, Any] | None:
        """The plan that an earlier attempt of this run has kept; None if there is none."""
        return self.ledger.operation(self.id).plan

    def has_moved(self) -> bool:
        """Say whether this run has begun to carry its plan out, by the journal."""
        return any(entry.kind == MOVING for entry in self.ledger.entries(self.id))

    def goes_back(self) -> bool:
        """Say whether the last that this run has set about is to take back what it has moved, by the journal."""
        kinds = [entry.kind for entry in self.ledger.entries(self.id) if entry.kind in (MOVING, ROLLING_BACK)]
        return kinds[-1:] == [ROLLING_BACK]

    def has_asked(self) -> bool:
        """Say whether this run has asked for approval: then the answer counts, whatever has changed since."""
        return any(entry.kind == ASKED for entry in self.ledger.entries(self.id))

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Show signs of life while the block runs; end the operation by how the block ends, if it did not itself."""
        with self.operation.keep_alive() as lost:
            self.lost = lost
            try:
                yield
            except HeldError as error:
                self.finish("refused", evidence={"reason": str(error)})
                raise
            except Pause:
                self._finish_paused()
                raise
            except (TerminationSignal, KeyboardInterrupt):
                self.finish("cancelled", evidence={"reason": "cancelled"})
                raise
            except Exception as error:
                self.finish("failed", evidence={"reason": str(error)})
                raise

    def _finish_paused(self) -> None:
        if self._ended:  # a step has said so itself; or the run asks for approval
            return
        self.finish("paused", evidence={"reason": PAUSED})
        get_run_logger().warning("%s: %s", PAUSED, RESUME)
        with get_client(sync_client=True) as client:
            self.tag(client, "paused", instead_of=("paused",))

    def _bury_the_dead(self) -> None:
        for row in self.earlier():
            if row.evidence and row.evidence.get("taken_over_by") == self.id:
                get_run_logger().warning("took over what %s %s held: it shows no sign of life", row.job, row.id)
                if row.id == self.flow_run:  # an earlier attempt of this very flow run
                    continue
                message = f"its process died; flow run {self.flow_run} goes on with its work"
                with get_client(sync_client=True) as client:
                    forget(client, self.job, row.id)
                    try:
                        dead = client.read_flow_run(UUID(row.id))
                    except (ObjectNotFound, ValueError):
                        continue
                    if dead.state is not None and not dead.state.is_final():
                        client.set_flow_run_state(dead.id, Crashed(message=message))


@contextmanager
def operation(
    config: Config,
    job: str,
    mode: str,
    *,
    cluster: str,
    resources: Sequence[str],
    parameters: dict[str, Any],
    anew: bool = False,
) -> Iterator[Run]:
    """Enter this flow run in the ledger as an operation, alive until the block ends.

    Args:
        config: the platform.
        job: the job's name.
        mode: ``plan`` or ``run``.
        cluster: what it works on.
        resources: the topics of it.
        parameters: as given.
        anew: each attempt of the flow run is an operation of its own: what an earlier one has ended with, or has not
            proved, stands. Without it, an attempt goes on with the operation, as after an approval.

    Raises:
        UnavailableError: the ledger's database does not answer.
    """
    context = FlowRunContext.get()
    assert context is not None, "only inside a flow"
    assert context.flow_run is not None
    with Ledger.open(config.ledger_url()) as ledger:
        run = Run(ledger, context.flow_run, job)
        run.begin(mode, cluster, resources, parameters, anew=anew)
        with run.alive():
            yield run


def attempts_of(flow_run: str) -> list[str]:
    """Give the ids that operations of a flow run may have: its own, and of attempts after the first, one each."""
    return [flow_run, *(str(uuid5(UUID(flow_run), str(number))) for number in range(2, 1_000))]


def _resource(topic: ClusterTopic) -> str:
    return "/".join(topic)


def tag(client: SyncPrefectClient, flow_run: str, word: str, *, instead_of: Iterable[str]) -> None:
    """Give a flow run a tag, and take these from it."""
    run = client.read_flow_run(UUID(flow_run))
    client.update_flow_run(run.id, tags=[*(each for each in run.tags if each not in instead_of), word])


def who_started(flow_run: FlowRun) -> str:
    """Say who has started a flow run: a person, as far as that is known, or what did."""
    label = flow_run.labels.get(WHO_LABEL)
    if label:
        return str(label)
    if flow_run.created_by is not None:
        creator = flow_run.created_by
        return f"{creator.type or 'run'} {creator.display_value or ''}".strip().lower()
    return NOBODY if flow_run.deployment_id else person()
