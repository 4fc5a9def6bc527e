"""Pictures of what people see in Prefect's UI, as PNG files in ``build/shots``, to be looked at: ``make shots``.

On a stack of its own, or on the one whose folder ``REDRIVE_TEST_STACK`` names. Needs ``chromium``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient

from deployments.follow import artifacts_of, follow, start
from deployments.local.stack import Stack
from deployments.worker import start_worker
from tasks.ending import plan_key, report_key
from tasks.live import LIVE
from tasks.pace import Pace, set_pace, variable_name
from tests.stack.backlog import Backlogs

OUT = Path("build/shots")
BROWSER = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
JOB = "standby-replay"
PATIENCE = 180.0


PLAN, REPORT = plan_key("standby-replay"), report_key("standby-replay")


def main() -> None:
    """Start what is needed, let the job run, and take the pictures."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("chromium is not installed: apt-get install chromium")
    OUT.mkdir(parents=True, exist_ok=True)
    folder = os.environ.get("REDRIVE_TEST_STACK")
    if folder:
        take(Stack.attach(folder), browser)
        return
    with tempfile.TemporaryDirectory(prefix="redrive-shots-") as data, Stack(data, "free") as stack:
        take(stack, browser)


def take(stack: Stack, browser: str) -> None:
    """Take the pictures on a stack that runs."""
    with tempfile.TemporaryDirectory(prefix="redrive-shots-") as name:
        folder = Path(name)
        platform = Backlogs(stack, folder, "orders.created", "payments.settled", lanes=4)
        environment = stack.environment() | platform.environment
        os.environ.update(environment)
        platform.create()
        with (
            start_worker(environment, folder / "worker.log", report=print),
            SyncPrefectClient(environment["PREFECT_API_URL"]) as client,
        ):
            ui = f"{stack.endpoints.prefect_ui}/v2"

            def shot(name: str, path: str, height: int) -> None:
                size = f"--window-size=1400,{height}"
                file = f"--screenshot={OUT / name}.png"
                profile = f"--user-data-dir={folder / 'browser'}"
                wait = "--virtual-time-budget=15000"
                subprocess.run(
                    [browser, *BROWSER, profile, size, wait, file, ui + path],
                    capture_output=True,
                    timeout=120,
                    check=True,
                )
                print(OUT / f"{name}.png")

            shoot(client, platform, shot)


def shoot(client: SyncPrefectClient, platform: Backlogs, shot: Callable[[str, str, int], None]) -> None:
    """Let the job plan, run slowly, and end; take a picture at each step."""
    deployment = client.read_deployment_by_name(f"{JOB}/{JOB}")
    shot("1-run-form", f"/deployments/deployment/{deployment.id}/run", 1800)

    orders, payments = platform.topics
    platform.fill(orders, 40_000)
    platform.fill(payments, 15_000)
    plan = run(client, {"mode": "plan"})
    follow(client, plan, lambda _: None)
    shot("2-plan", f"/artifacts/artifact/{artifacts_of(client, plan)[plan_key('standby-replay')].id}", 1500)

    at_work = run(client, {"mode": "run", "rate": 3_000, "settle": 0})
    deadline = time.monotonic() + PATIENCE
    while (lanes := artifacts_of(client, at_work).get("standby-replay" + LIVE)) is None or str(
        lanes.description
    ).startswith("0 of"):
        if time.monotonic() > deadline:
            sys.exit("the run does not begin to publish")
        time.sleep(0.5)
    time.sleep(4)
    variable = variable_name(JOB, str(at_work))
    set_pace(client, variable, Pace(rate=300))
    shot("3-at-work", f"/artifacts/artifact/{lanes.id}", 1100)
    shot("4-flow-run", f"/runs/flow-run/{at_work}", 1200)
    shot("5-flow-run-artifacts", f"/runs/flow-run/{at_work}?tab=Artifacts", 800)
    set_pace(client, variable, Pace())
    end = follow(client, at_work, lambda _: None)
    print(end.message)
    shot("6-verdict", f"/artifacts/artifact/{artifacts_of(client, at_work)[report_key('standby-replay')].id}", 1600)
    shot("7-runs", "/runs", 900)
    shot("8-deployment", f"/deployments/deployment/{deployment.id}", 1000)


def run(client: SyncPrefectClient, parameters: dict[str, Any]) -> UUID:
    """Start a run."""
    return start(client, JOB, {"replay": parameters}, "anna").id


if __name__ == "__main__":
    main()
