"""A program under test: one flow run of `schema-backfill`, on a real Prefect server, to be killed from outside."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.schema_backfill import Backfill, schema_backfill
from redrive.aliases import CatchingUp
from tests.faults.processes import enter


class Job(msgspec.Struct):
    """What to run, and where.

    Attributes:
        settings: the platform's file.
        prefect: URL of the server's API.
        backfill: what the form is filled in with.
        log: the file that its output goes to.
        stands: if it switches producers, it stands still once they store what they publish.
    """

    settings: str
    prefect: str
    backfill: dict[str, Any]
    log: str
    stands: bool = False


def main(job: Job) -> None:
    enter(Path(job.log))
    os.environ["REDRIVE_CONFIG"] = job.settings
    if job.stands:
        CatchingUp.wait = _stand_still  # type: ignore[method-assign]
    with temporary_settings(updates={PREFECT_API_URL: job.prefect, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        # The engine itself turns SIGTERM, which is what a cancel comes to, into an exception in this thread.
        schema_backfill(Backfill(**job.backfill), return_state=True)


def _stand_still(_: CatchingUp, __: float, check: Callable[[], None]) -> None:
    """Stand in for the wait until the topic that producers leave is copied: goes on until the run is stopped."""
    while True:
        check()
        time.sleep(0.1)
