"""Pictures of what people see in Prefect's UI, as PNG files in ``build/shots``, to be looked at: ``make shots``.

All jobs, on a stack of their own, with the demo's flights. Needs ``chromium``. Those of README are in
``build/shots/readme``, under the names that they have in ``docs/pictures``: to be copied there once they have been
looked at.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from uuid import UUID

from deployments.demo.corrections import RULES
from deployments.demo.flights import TOPIC
from deployments.local.stack import Stack
from tasks.ending import PLAN, REPORT
from tests.ui.airport import Airport
from tests.ui.browser import Browser

OUT = Path("build/shots")
FORMS = {
    "standby-replay": "Patience",
    "dlq-triage": "Mode",
    "dlq-correction": "Verify",
    "partition-rebalance": "Throttle",
    "broker-scaling": "Mode",
    "schema-backfill": "Target",
    "cluster-health": "Clusters",
}
"""A field that each form has."""
README = {
    "standby-replay-form": "form",
    "partition-rebalance-plan": "plan",
    "schema-backfill-approval": "approval",
    "standby-replay-progress": "progress",
    "dlq-correction-verdict": "verdict",
    "cluster-health-well": "health",
}


def main() -> None:
    """Start what is needed, let the jobs run, and take the pictures."""
    (OUT / "readme").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="redrive-shots-") as name:
        folder = Path(name)
        try:
            browser = Browser(folder / "browser")
        except FileNotFoundError as error:
            sys.exit(str(error))
        with browser, Stack(folder / "stack", "free") as stack, Airport(stack, folder) as airport:
            Shots(browser, airport, f"{stack.endpoints.prefect_ui}/v2").take()


class Shots:
    """The pictures, in the order of an operator's day."""

    def __init__(self, browser: Browser, airport: Airport, ui: str) -> None:
        self._browser, self._airport, self._ui = browser, airport, ui

    def take(self) -> None:
        """Take all of them."""
        for job, field in FORMS.items():
            self._browser.visit(f"{self._ui}/deployments/deployment/{self._airport.deployment(job)}/run", field)
            self._shoot(f"{job}-form")
        self._airport.publish(40_000)
        self._airport.outage(self._while_away)
        self._replay()
        self._correction()
        self._backfill()
        self._rebalance()
        self._artifact("cluster-health-well", self._airport.health("local"))

    def _while_away(self) -> None:
        self._airport.publish(20_000)
        self._artifact("cluster-health-unavailable", self._airport.health("local"))

    def _replay(self) -> None:
        job = "standby-replay"
        plan = self._airport.start(job, {"replay": {"mode": "plan"}})
        self._airport.end(plan)
        self._artifact(f"{job}-plan", self._airport.artifact(plan, PLAN))
        run = self._airport.start(job, {"replay": {"mode": "run", "rate": 1_500, "settle": 0}})
        self._live(job, run)
        self._end(job, run)

    def _correction(self) -> None:
        triage = self._airport.start("dlq-triage", {"triage": {"mode": "run"}})
        self._airport.end(triage)
        self._artifact("dlq-triage-verdict", self._airport.artifact(triage, REPORT))
        job = "dlq-correction"
        given = {"mode": "run", "rules": RULES, "order": "publish", "rate": 60, "samples": 1}
        run = self._airport.start(job, {"correction": given})
        self._approve(job, run)
        self._live(job, run)
        self._end(job, run)

    def _backfill(self) -> None:
        job = "schema-backfill"
        given = {"mode": "run", "source": TOPIC, "target": f"{TOPIC}.v2", "rules": "rules/flights_v2.yaml"}
        run = self._airport.start(job, {"backfill": given | {"rate": 3_000}})
        self._approve(job, run)
        self._live(job, run)
        self._end(job, run)

    def _rebalance(self) -> None:
        self._airport.add_broker()
        job = "partition-rebalance"
        given = {"mode": "run", "goal": "add_brokers", "throttle": 0.2}
        run = self._airport.start(job, {"rebalance": given})
        self._approve(job, run)
        self._live(job, run)
        self._end(job, run)

    def _approve(self, job: str, run: UUID) -> None:
        self._airport.asks(run)
        self._artifact(f"{job}-plan", self._airport.artifact(run, PLAN))
        self._browser.visit(f"{self._ui}/runs/flow-run/{run}", job)
        self._shoot(f"{job}-waits", 1_000)
        self._browser.click("Open menu")
        self._browser.wait_for("Resume")
        self._browser.click("Resume")
        self._browser.wait_for("Decision")
        self._shoot(f"{job}-approval", 900)
        self._airport.approve(run)

    def _live(self, job: str, run: UUID) -> None:
        self._artifact(f"{job}-progress", self._airport.live(run, percent=15))
        self._browser.visit(f"{self._ui}/runs/flow-run/{run}", job)
        self._shoot(f"{job}-run", 1_000)

    def _end(self, job: str, run: UUID) -> None:
        self._airport.end(run)
        self._artifact(f"{job}-verdict", self._airport.artifact(run, REPORT))

    def _artifact(self, name: str, artifact: str) -> None:
        self._browser.visit(f"{self._ui}/artifacts/artifact/{artifact}", "Artifact")
        self._shoot(name)

    def _shoot(self, name: str, height: int = 0) -> None:
        self._browser.shoot(OUT / f"{name}.png", height=height)
        if name in README:
            self._browser.shoot(OUT / "readme" / f"{README[name]}.png", height=960, scale=0.8)


if __name__ == "__main__":
    main()
