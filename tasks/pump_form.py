"""What run forms of jobs that move events through the pump have in common, with one meaning."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from redrive.pump.proof import Mode
from tasks.protection import Protect

Verify = Annotated[
    Mode,
    Field(
        title="Verify",
        description="What is read back from Kafka at the end. full: each event once, in order, with its key, "
        "value, headers and time. counts: each event once and in order.",
    ),
]
ProtectConsumers = Annotated[
    Protect | None,
    Field(title="Protect consumers", description="Hold while a consumer group is too far behind. None: don't."),
]


def patience_field(unit: str, system: str, next_run: str) -> Any:
    """Describe the field of how long a system may not answer.

    Args:
        unit: what is worked at side by side, such as ``a lane``.
        system: what may be away.
        next_run: what goes on then, such as ``the next run goes on``.
    """
    return Field(
        title="Patience (seconds)",
        ge=0,
        le=86_400,
        description=f"How long {unit} keeps trying while {system} does not answer. Then the run ends as paused, "
        f"nothing is lost, and {next_run}.",
    )


def rate_field(things: str, over: str, job: str) -> Any:
    """Describe the field of the largest rate; None is full speed.

    Args:
        things: what is counted, such as ``events``.
        over: what the rate is shared by, such as ``lanes``.
        job: whose form it is.
    """
    return Field(
        title=f"Rate ({things} per second)",
        gt=0,
        allow_inf_nan=False,
        description=f"At most so many, over all {over}. None: full speed. It can be changed while the run works, by "
        f"its pace variable or by `redrive pace {job}`.",
    )
