"""Deploying the jobs to Prefect; ``redrive deploy`` does it for workers that are elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

import typer

from deployments import switches
from deployments.automations import automations
from redrive.cli.exits import BAD

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

ROOT = Path(__file__).parents[1]


def deploy() -> None:
    """Make or update all jobs in Prefect, then the automations that notify; what somebody has switched stays so.

    Their work pool (prefect.yaml says which) has to be there. `redrive up` does this by itself.
    """
    from deployments.follow import connected

    # Whoever ends this half way, such as a CI system, must not leave on what somebody has switched off.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with connected() as client:
        code = deploy_all(client, {})
    if code:
        raise typer.Exit(BAD)
    automations()


def deploy_all(client: SyncPrefectClient, environment: Mapping[str, str], output: IO[bytes] | None = None) -> int:
    """Make or update every deployment in ``prefect.yaml``; what somebody has switched on or off stays so.

    Args:
        client: Prefect's API.
        environment: variables over those of this process.
        output: where Prefect tells how it goes; None: the terminal.

    Returns:
        Prefect's exit code.
    """
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    with switches.kept(client):
        return subprocess.run(
            command, cwd=ROOT, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
            stdout=output, stderr=None if output is None else subprocess.STDOUT,
        ).returncode  # fmt: skip
