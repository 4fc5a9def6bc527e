"""How often steps are tried again that ask a system: all alike."""

from __future__ import annotations

from typing import Any

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from redrive.errors import UnavailableError


def if_unavailable(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Retry what may heal by itself: nothing but a system that does not answer."""
    return isinstance(state.result(raise_on_failure=False), UnavailableError)


BRIEFLY: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": [1, 3, 5],
    "retry_condition_fn": if_unavailable,
    "cache_policy": NO_CACHE,
}
"""For a look at the beginning: whoever waits for it would rather hear soon."""

PATIENTLY: dict[str, Any] = BRIEFLY | {"retries": 10, "retry_delay_seconds": [1, 3, 5, 10]}
"""For what is worth more than a minute: work that is done, and must not lack its proof."""

UNIT_BY_UNIT: dict[str, Any] = {"retries": 10_000, "retry_delay_seconds": [1, 2, 3, 5], "cache_policy": NO_CACHE}
"""For one unit of a run's work: what bounds it is the run's patience, see `tasks.side_by_side.Work.may_retry`."""
