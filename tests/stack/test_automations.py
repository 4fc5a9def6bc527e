"""Who is told: Prefect's automations on a real server, and a webhook that hears what they send."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import UUID

import pytest
from prefect import flow
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.logging import disable_run_logger
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Failed, Scheduled, Suspended

from deployments import automations
from deployments.automations import GIVE_WAY, PREFIX, apply
from deployments.local.stack import Stack
from deployments.worker import create_pool, deploy
from redrive.config import Config
from redrive.errors import ConfigError
from redrive.health.changes import RECOVERED, UNAVAILABLE, UNWELL
from redrive.health.facts import Facts, Unknown
from redrive.health.judging import judge
from redrive.ledger import Ledger
from tasks.cluster_health.steps import Found, tell_changes

RECOVERY = "standby-replay-when-a-cluster-has-recovered"
SCALING = "broker-scaling-by-itself"
LATE = [f"{PREFIX}late runs of {deployment} give way" for deployment in GIVE_WAY]
pytestmark = pytest.mark.timeout(300)


class Pager:
    """A webhook that notes the subjects and texts that it is sent."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        pager = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                pager.heard.append((body["subject"], body["body"]))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def bodies(self, subject: str) -> list[str]:
        return [body for heard, body in self.heard if subject in heard]

    def wait_for(self, subject: str, times: int = 1, seconds: float = 120) -> str:
        deadline = time.monotonic() + seconds
        while len(bodies := self.bodies(subject)) < times:
            assert time.monotonic() < deadline, f"nothing about {subject!r}; heard: {self.heard}"
            time.sleep(0.2)
        return bodies[0]


@pytest.fixture
def prefect(own_prefect: Stack) -> Iterator[SyncPrefectClient]:
    api = own_prefect.environment()["PREFECT_API_URL"]
    with temporary_settings(updates={PREFECT_API_URL: api}), SyncPrefectClient(api) as client:
        yield client


@pytest.fixture
def pager() -> Iterator[Pager]:
    pager = Pager()
    yield pager
    pager.server.shutdown()
    pager.server.server_close()


@pytest.fixture
def block(prefect: SyncPrefectClient, pager: Pager) -> Iterator[str]:
    """A block of Prefect that sends to the pager; what uses it goes again at the end."""
    name = f"pager-{uuid.uuid4().hex[:8]}"
    sent = {"subject": "{{subject}}", "body": "{{body}}"}
    CustomWebhookNotificationBlock(name=name, url=pager.url, json_data=sent).save(name)
    yield f"custom-webhook/{name}"
    apply(prefect, None)


def about(cluster: str, event: str, reason: dict[str, str] | None = None) -> dict[str, object]:
    """Give an event about a cluster, as a look emits it."""
    return {
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": event,
        "resource": {"prefect.resource.id": f"redrive.cluster.{cluster}"},
        "payload": {"cluster": cluster, "reasons": [reason] if reason else []},
    }


def emit(prefect: SyncPrefectClient, *events: dict[str, object]) -> None:
    prefect.request("POST", "/events", json=list(events))


@flow(name="standby-replay")
def a_job() -> None:
    pass


@flow(name="cluster-health")
def a_look() -> None:
    pass


def test_people_are_told_of_failed_jobs_plans_that_wait_and_clusters_that_are_not_well(
    prefect: SyncPrefectClient, pager: Pager, block: str
) -> None:
    assert len(apply(prefect, block)) == 6
    looked = prefect.create_flow_run(a_look, tags=["redrive"])
    prefect.set_flow_run_state(looked.id, Completed(), force=True)
    good = prefect.create_flow_run(a_job, tags=["redrive"], name="a good one")
    prefect.set_flow_run_state(good.id, Completed(message="proved"), force=True)
    foreign = prefect.create_flow_run(a_job, tags=["other"], name="not ours")
    prefect.set_flow_run_state(foreign.id, Failed(message="not ours"), force=True)
    bad = prefect.create_flow_run(a_job, tags=["redrive"], name="run all")
    prefect.set_flow_run_state(bad.id, Failed(message="failed: 3 events are lost"), force=True)
    waiting = prefect.create_flow_run(a_job, tags=["redrive"], name="run 9 letters")
    prefect.set_flow_run_state(waiting.id, Suspended(timeout_seconds=600), force=True)
    cluster = f"east-{uuid.uuid4().hex[:6]}"
    reasons = {
        UNAVAILABLE: {"what": "it does not answer", "way_out": "start its brokers"},
        UNWELL: {"what": "1 of 3 brokers is down: 3", "way_out": "start it"},
    }
    emit(prefect, *(about(cluster, event, reason) for event, reason in reasons.items()))

    assert "run all: failed: 3 events are lost" in pager.wait_for("standby-replay: Failed")
    assert "run 9 letters: read its plan" in pager.wait_for("standby-replay waits for approval")
    assert "it does not answer\n→ start its brokers" in pager.wait_for(f"cluster {cluster} is unavailable")
    assert "1 of 3 brokers is down: 3\n→ start it" in pager.wait_for(f"cluster {cluster} is unwell")
    assert not [body for _, body in pager.heard if "a good one" in body or "not ours" in body]


def test_silence_after_a_look_is_told_also_when_the_jobs_were_deployed_meanwhile(
    prefect: SyncPrefectClient, pager: Pager, block: str
) -> None:
    apply(prefect, block, silence=timedelta(seconds=10))
    for _ in range(6):
        looked = prefect.create_flow_run(a_look, tags=["redrive-health"])
        prefect.set_flow_run_state(looked.id, Completed(), force=True)
        time.sleep(2)
    apply(prefect, block, silence=timedelta(seconds=10))
    assert not pager.bodies("clusters are not looked at")
    pager.wait_for("clusters are not looked at")


def test_a_cluster_that_comes_and_goes_is_told_once_and_its_return_once_it_has_held_and_silence_without_any_look(
    prefect: SyncPrefectClient, pager: Pager, block: str
) -> None:
    # Longer than a busy machine takes from one event to the next.
    apply(prefect, block, silence=timedelta(seconds=10), quiet=timedelta(seconds=40))
    back, gone = f"east-{uuid.uuid4().hex[:6]}", f"west-{uuid.uuid4().hex[:6]}"
    left = {"what": "1 of 3 brokers is down: 3", "way_out": "start it"}
    # Looks are a minute apart; what comes within milliseconds Prefect may take in another order.
    for step in (UNAVAILABLE, RECOVERED, UNAVAILABLE, RECOVERED):
        emit(prefect, about(back, step, left))
        time.sleep(1)
    for step in (UNAVAILABLE, RECOVERED, UNAVAILABLE):
        emit(prefect, about(gone, step))
        time.sleep(1)

    told_back = pager.wait_for(f"cluster {back} takes events again")
    assert "what still waits: `redrive standby status`\nWhen it came back:\n1 of 3 brokers is down" in told_back
    time.sleep(3)
    told = [subject for subject, _ in pager.heard if back in subject or gone in subject]
    assert sorted(told) == sorted(
        [f"cluster {back} is unavailable", f"cluster {gone} is unavailable", f"cluster {back} takes events again"]
    )
    emit(prefect, about(back, UNAVAILABLE))
    pager.wait_for(f"cluster {back} is unavailable", times=2)
    # A broken deployment is just what keeps looks from their end.
    assert "docs/runbooks/nobody-looks.md" in pager.wait_for("clusters are not looked at")


def test_late_runs_of_a_schedule_give_way_to_later_ones_and_what_people_have_started_waits(
    prefect: SyncPrefectClient, tmp_path: Path
) -> None:
    api = str(prefect.api_url)
    create_pool(api)
    deploy({"PREFECT_API_URL": api}, tmp_path / "worker.log")
    # No worker; so everything that is due is late. The newest run of a schedule has its hour, or quarter of it, still.
    apply(prefect, None, give_way={"standby-replay": timedelta(seconds=10), "dlq-triage": timedelta(hours=1)})
    time.sleep(automations.LEARNS)

    def due(job: str, *tags: str) -> UUID:
        deployment = prefect.read_deployment_by_name(f"{job}/{job}")
        state = Scheduled(scheduled_time=datetime.now(UTC) - timedelta(minutes=1))
        return prefect.create_flow_run_from_deployment(deployment.id, state=state, tags=list(tags)).id

    def wait_for(wanted: str, *runs: UUID) -> None:
        deadline = time.monotonic() + 120
        while {state(run) for run in runs} != {wanted}:
            assert time.monotonic() < deadline, [state(run) for run in runs]
            time.sleep(0.5)

    def state(run: UUID) -> str | None:
        found = prefect.read_flow_run(run).state
        return found and found.name

    by_hand, newest = due("standby-replay"), due("dlq-triage", "auto-scheduled")
    wait_for("Late", by_hand, newest)
    older = due("standby-replay", "auto-scheduled")  # would be cancelled after those, if they were
    wait_for("Cancelled", older)
    assert (state(newest), state(by_hand)) == ("Late", "Late")


def test_they_are_made_once_follow_the_settings_and_go_with_them(
    prefect: SyncPrefectClient, block: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ours() -> dict[str, tuple[str, str]]:
        """By name: its id, and that of its trigger, which Prefect makes anew with each update."""
        every = prefect.request("POST", "/automations/filter", json={}).json()
        return {each["name"]: (each["id"], each["trigger"]["id"]) for each in every if each["name"].startswith(PREFIX)}

    monkeypatch.setattr(automations, "LEARNS", 0.0)
    names = apply(prefect, block)
    made = ours()
    assert sorted(made) == sorted([*names, *LATE])
    assert sorted(apply(prefect, block)) == sorted(names)
    assert ours() == made, "what is as it should be is not touched: Prefect would forget what it waits for"
    apply(prefect, block, silence=timedelta(minutes=3))
    assert [name for name, ids in ours().items() if ids != made[name]] == [f"{PREFIX}clusters are not looked at"]
    assert apply(prefect, None) == []
    assert ours() == {name: made[name] for name in LATE}


def test_they_are_found_among_more_than_the_server_gives_at_once(
    prefect: SyncPrefectClient, block: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automations, "LEARNS", 0.0)
    names = apply(prefect, block)
    monkeypatch.setattr(prefect, "read_automations", partial(prefect.read_automations, limit=2))
    apply(prefect, block)
    monkeypatch.undo()
    assert sorted(each.name for each in prefect.read_automations() if each.name.startswith(PREFIX)) == sorted(
        [*names, *LATE]
    )


def test_two_that_make_them_at_once_leave_one_of_each(
    prefect: SyncPrefectClient, block: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automations, "LEARNS", 0.0)
    with ThreadPoolExecutor(4) as pool:
        made = [each.result() for each in [pool.submit(apply, prefect, block) for _ in range(4)]]
    names = [each.name for each in prefect.read_automations() if each.name.startswith(PREFIX)]
    assert sorted(names) == sorted([*made[0], *LATE])


def test_what_somebody_has_switched_on_or_off_stays_when_the_jobs_are_deployed_again(
    prefect: SyncPrefectClient, tmp_path: Path
) -> None:
    def schedules(job: str) -> tuple[UUID, list[DeploymentSchedule]]:
        found = prefect.read_deployment_by_name(f"{job.removesuffix('-by-itself')}/{job}")
        return found.id, found.schedules

    def switched_on() -> list[bool]:
        of_jobs = [schedules(job)[1][0].active for job in ("standby-replay", SCALING, "dlq-triage")]
        (trigger,) = prefect.read_automations_by_name(RECOVERY)
        paused = prefect.read_deployment_by_name("dlq-triage/dlq-triage").paused
        return [*of_jobs, trigger.enabled, not paused]

    environment, log = {"PREFECT_API_URL": str(prefect.api_url).rstrip("/")}, tmp_path / "worker.log"
    create_pool(environment["PREFECT_API_URL"])
    deploy(environment, log)
    assert switched_on() == [True, False, True, True, True], "as prefect.yaml has it"
    for job, active in (("standby-replay", False), (SCALING, True)):
        deployment, (schedule,) = schedules(job)
        prefect.update_deployment_schedule(deployment, schedule.id, active=active)
    (trigger,) = prefect.read_automations_by_name(RECOVERY)
    prefect.pause_automation(trigger.id)
    triage, _ = schedules("dlq-triage")
    prefect.pause_deployment(triage)

    before = [False, True, schedules("dlq-triage")[1][0].active, False, False]
    deploy(environment, log)
    assert switched_on() == before


def test_what_has_changed_is_told_again_as_long_as_the_server_is_away(
    own_prefect: Stack, prefect: SyncPrefectClient, tmp_path: Path
) -> None:
    cluster = f"east-{uuid.uuid4().hex[:6]}"
    (tmp_path / "redrive.toml").write_text(
        f'[registry]\nurl = "http://127.0.0.1:1"\n[clusters.{cluster}]\nbootstrap = "127.0.0.1:1"\n'
        '[domains.a]\ncluster = "' + cluster + '"\n[topics.a]\ndomain = "a"\n'
    )
    config, nobody = Config.load(tmp_path / "redrive.toml"), Unknown("it does not answer")
    facts = Facts(cluster, datetime.now(UTC), 0.1, frozenset(), nobody, nobody, nobody, nobody, nobody)

    def look() -> str:
        with disable_run_logger():
            return tell_changes(config, Found([judge(replace(facts, at=datetime.now(UTC)))]))

    def told() -> list[str]:
        wanted = {"resource": {"id": [f"redrive.cluster.{cluster}"]}}
        events = prefect.request("POST", "/events/filter", json={"filter": wanted, "limit": 50}).json()["events"]
        return [event["event"] for event in events]

    own_prefect.kill("prefect")
    try:
        for _ in range(2):
            assert "could not be sent; the next look tries again" in look()
        with Ledger.open(config.ledger_url()) as ledger:
            assert ledger.looks.last(cluster) is None
    finally:
        own_prefect.start("prefect")
    assert [look(), look()] == ["", ""]
    deadline = time.monotonic() + 120
    while not told():
        assert time.monotonic() < deadline, "the event does not arrive"
        time.sleep(0.3)
    assert told() == [UNAVAILABLE], "once"


def test_a_block_that_is_not_there_is_named(prefect: SyncPrefectClient) -> None:
    with pytest.raises(ConfigError, match=r"Prefect has no block slack-webhook/nobody; make it in its UI"):
        apply(prefect, "slack-webhook/nobody")
