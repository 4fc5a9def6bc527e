"""The sections of the settings file that are about jobs: who approves what, what they may use, whom they tell."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from redrive.config.sections import Section


class ApprovalConfig(Section):
    """Who has to approve plans of a job.

    Attributes:
        approval: ``"required"``: a person approves each; ``"none"``: nobody; a number: a person approves those that do
            more.
        four_eyes: whoever started a run can't approve its plan.
    """

    approval: Literal["required", "none"] | Annotated[int, Field(ge=0)] = 1_000
    four_eyes: bool = False

    def needs_approval(self, amount: float) -> bool:
        """Say whether a plan that does so much has to be approved."""
        if isinstance(self.approval, int):
            return amount > self.approval
        return self.approval == "required"


class CorrectionsConfig(ApprovalConfig):
    """What corrections of dead letters may do by themselves; the number of ``approval`` is one of letters.

    Attributes:
        attempts: so many times a letter is tried. One that has become a letter for this many times, and can't be put
            right, is parked; so is one that was published again after that, and has come back.
        masked: fields, by name, whose values no plan shows.
    """

    attempts: Annotated[int, Field(ge=1, le=1_000)] = 5
    masked: frozenset[str] = frozenset()


class BackfillsConfig(ApprovalConfig):
    """What backfills may do without asking; the number of ``approval`` is one of events to be copied.

    Moving consumer groups always has to be approved, unless ``approval`` is ``"none"``.
    """


class JobsConfig(Section):
    """What jobs may use of the machine that they run on, and where metrics of them are told.

    Attributes:
        admin_host: where `redrive up` and `redrive metrics` tell Prometheus what the ledger knows; this machine only,
            unless Prometheus is elsewhere.
        admin_port: likewise; 0: nowhere.
        processes: how many a job may start for work that takes Python's time, such as judging letters; 0: it does that
            in its own. Not given: as many as the machine has cores, and none if that is one.
    """

    admin_host: str = "127.0.0.1"
    admin_port: Annotated[int, Field(ge=0, le=65_535)] = 9465
    processes: Annotated[int, Field(ge=0, le=256)] | None = None

    def worker_processes(self) -> int:
        """Say how many processes a job may start."""
        if self.processes is not None:
            return self.processes
        from loky import cpu_count  # slow to import, and most programs start none

        cores: int = cpu_count()  # those that this process may use, by its container, too
        return cores if cores > 1 else 0


class RebalancingConfig(ApprovalConfig):
    """What moves of partitions may be made without asking; the number of ``approval`` is one of MB to be copied.

    With any number, plans by which partitions lose replicas ask all the same.
    """


class ScalingConfig(ApprovalConfig):
    """What `broker-scaling` may do without asking; the number of ``approval`` is one of brokers to be added."""

    approval: Literal["required", "none"] | Annotated[int, Field(ge=0)] = "required"


class NotificationsConfig(Section):
    """Whom to tell when a job has failed or a cluster is unavailable.

    Attributes:
        block: a notification block of Prefect, by its type and name, such as ``slack-webhook/oncall``. The secret is
            there, and not here. Without one nothing is sent.
    """

    block: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")] | None = None
