"""``redrive automations``: who is told when a job fails, a cluster is not well, or nobody looks at clusters any more.

What *starts* jobs are triggers in ``prefect.yaml``, made by deploying. These send something, and so need a block of
Prefect that says where to; the settings name it. Beside them, some that need none: late runs give way to later ones.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from redrive.cli.output import out
from redrive.config import Config
from redrive.errors import ConfigError
from redrive.health.changes import LATELY, RECOVERED, UNAVAILABLE, UNWELL

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger

PREFIX = "redrive: "
"""How the names of all of them begin; others are nobody's business here."""
SILENCE = timedelta(minutes=10)
WATCH = "redrive.watch"
"""The resource of the event that follows: that clusters are to be looked at, as people have made it so."""
WATCH_BEGUN = "redrive.watch.begun"
"""From here on silence counts. Else a job that never comes to its end at all, such as one that was deployed with broken
settings, would never be told of."""
LOOKS = {"prefect.resource.name": "cluster-health", "prefect.resource.role": "flow"}
"""What both are about, as Prefect names the flow of a run among what is related to it."""
GIVE_WAY = {
    "standby-replay": timedelta(minutes=15),
    "dlq-triage": timedelta(hours=1),
    "broker-scaling-by-itself": timedelta(minutes=15),
}
"""Deployment → time from one run of its schedule to the next. cluster-health has a limit, which does the same."""
LEARNS = 6.0
"""Seconds after which Prefect's server evaluates new automations for sure; it looks for them each five."""


def automations() -> None:
    """Make or update the automations that notify, by the block that the settings name; without one, delete them.

    And those by which late runs of a schedule give way to later ones, which need no block.
    """
    from deployments.follow import connected

    with connected() as client:
        names = apply(client, Config.load().notifications.block)
    for name in names:
        out.print(name, markup=False, highlight=False)
    if not names:
        out.print("Nobody is told: the settings name no block, [notifications] block = \"slack-webhook/oncall\"",
                  markup=False, highlight=False)  # fmt: skip


def apply(
    client: SyncPrefectClient,
    block: str | None,
    silence: timedelta = SILENCE,
    quiet: timedelta = LATELY,
    give_way: Mapping[str, timedelta] = GIVE_WAY,
) -> list[str]:
    """Make Prefect have just these automations, of those whose names are ours; give the names of those that notify.

    Args:
        client: Prefect's API.
        block: a notification block, by type and name; None: none are wanted.
        silence: how long no look at clusters may have been finished, before somebody is told.
        quiet: how long a cluster takes events again before that is told, and the least time from one notice that it is
            away to the next.
        give_way: deployment → how long a run of its schedule may be late.

    Raises:
        ConfigError: there is no such block.
    """
    there = one_of_each(client)
    late = {each.name: each for each in _giving_way(give_way)}
    _put(client, late, there)  # first, as the block may not be there
    telling = {each.name: each for each in _notifying(_document(client, block), silence, quiet)} if block else {}
    changed = _put(client, telling, there)
    for name in there.keys() - late.keys() - telling.keys():
        client.delete_automation(there[name].id)
    one_of_each(client)
    if telling:
        if changed:
            time.sleep(LEARNS)
        _begin_watch(client)
    return list(telling)


def _put(client: SyncPrefectClient, wanted: Mapping[str, AutomationCore], there: Mapping[str, Automation]) -> bool:
    """Make or update automations, if they are not there as they should be; say whether one was not."""
    changed = False
    for name, automation in wanted.items():
        if name in there:
            automation.enabled = there[name].enabled  # somebody may have switched it off
            # Prefect forgets what one was waiting for, such as the end of a silence, whenever it is updated.
            if automation.model_dump() == there[name].model_dump(exclude={"id"}):
                continue
            client.update_automation(there[name].id, automation)
        else:
            client.create_automation(automation)
        changed = True
    return changed


def _begin_watch(client: SyncPrefectClient) -> None:
    """Have silence count from now on, unless it does already."""
    from prefect.events.schemas.events import Event, RelatedResource, Resource

    event = Event(
        event=WATCH_BEGUN,
        resource=Resource({"prefect.resource.id": WATCH}),
        related=[RelatedResource({"prefect.resource.id": f"redrive.job.{LOOKS['prefect.resource.name']}", **LOOKS})],
    )
    client.request("POST", "/events", json=[event.model_dump(mode="json")])


def one_of_each(client: SyncPrefectClient, names: Collection[str] | None = None) -> dict[str, Automation]:
    """Give the automations of these names, or of ours, by name; of those that are there twice, one is kept.

    Two that make them at once find none, and each makes its own; whoever looks last here finds both. All keep the same.
    """
    from prefect.exceptions import PrefectHTTPStatusError

    kept: dict[str, Automation] = {}
    for _, each in sorted(_all(client).items()):
        if not (each.name.startswith(PREFIX) if names is None else each.name in names):
            continue
        if kept.setdefault(each.name, each) is not each:
            try:
                client.delete_automation(each.id)
            except PrefectHTTPStatusError as error:
                if error.response.status_code != HTTPStatus.NOT_FOUND:  # somebody else was as quick
                    raise
    return kept


def _all(client: SyncPrefectClient) -> dict[UUID, Automation]:
    """Give all automations of the server, which others may share, by id; it gives a page at a time."""
    found: dict[UUID, Automation] = {}
    seen = 0
    while page := client.read_automations(offset=seen):
        # One that is made meanwhile moves another to the next page, where it comes again.
        found |= {each.id: each for each in page}
        seen += len(page)
    return found


def _document(client: SyncPrefectClient, block: str) -> UUID:
    from prefect.exceptions import ObjectNotFound

    kind, _, name = block.partition("/")
    try:
        return client.read_block_document_by_name(name, kind, include_secrets=False).id
    except ObjectNotFound:
        reason = f"Prefect has no block {block}; make it in its UI, under Blocks, or correct its type and name"
        raise ConfigError("notifications.block", reason) from None


def _giving_way(give_way: Mapping[str, timedelta]) -> Iterator[AutomationCore]:
    """Cancel what no worker has taken when the next run of the same schedule is due.

    Else hours without a worker pile runs up, and the worker that comes back starts all of them at once.
    """
    from prefect.events.actions import CancelFlowRun
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    # What people and events have started waits on: nobody starts it again. Prefect tags what its scheduler makes.
    by_schedule = ResourceSpecification({"prefect.resource.id": "prefect.tag.auto-scheduled"})
    for deployment, within in give_way.items():
        of = ResourceSpecification({"prefect.resource.role": "deployment", "prefect.resource.name": deployment})
        trigger = EventTrigger(
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=[of, by_schedule],
            for_each={"prefect.resource.id"},
            after={"prefect.flow-run.Late"},
            expect={f"prefect.flow-run.{state}" for state in ("Pending", "Running", "Cancelling", "Cancelled")},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        )
        yield AutomationCore(
            name=f"{PREFIX}late runs of {deployment} give way",
            description=f"A run of {deployment} by schedule that no worker has taken is cancelled when the next one is "
            "due, so that a worker that comes back after hours finds one, and no crowd.",
            trigger=trigger,
            # The type said: an update sends only what was set, and without it Prefect makes this "do-nothing".
            actions=[CancelFlowRun(type="cancel-flow-run")],
        )


def _notifying(block: UUID, silence: timedelta, quiet: timedelta) -> Iterator[AutomationCore]:
    from prefect.events.actions import SendNotification
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    def tell(name: str, description: str, trigger: EventTrigger, subject: str, body: str) -> AutomationCore:
        action = SendNotification(block_document_id=block, subject=subject, body=body)
        return AutomationCore(name=PREFIX + name, description=description, trigger=trigger, actions=[action])

    def at_once(
        match: ResourceSpecification,
        *expect: str,
        related: ResourceSpecification | None = None,
        within: timedelta = timedelta(0),
    ) -> EventTrigger:
        """Each time that one of these events comes, of each resource; then not for so long."""
        return EventTrigger(
            match=match, match_related=related or ResourceSpecification({}), expect=set(expect),
            for_each={"prefect.resource.id"}, posture=Posture.Reactive, threshold=1, within=within,
        )  # fmt: skip

    runs = ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})
    ours = ResourceSpecification({"prefect.resource.id": "prefect.tag.redrive", "prefect.resource.role": "tag"})
    clusters = ResourceSpecification({"prefect.resource.id": "redrive.cluster.*"})
    reasons = "{% for reason in event.payload.reasons %}{{ reason.what }}\n→ {{ reason.way_out }}\n{% endfor %}"
    yield tell(
        "a job has failed",
        "A run of one of Redrive's jobs has ended badly, has paused for what nobody knows yet, or has crashed.",
        at_once(runs, "prefect.flow-run.Failed", "prefect.flow-run.Crashed", "prefect.flow-run.TimedOut", related=ours),
        "{{ flow.name }}: {{ flow_run.state.name }}",
        "{{ flow.name }} {{ flow_run.name }}: {{ flow_run.state.message }}\n{{ flow_run|ui_url }}",
    )
    yield tell(
        "a run waits for approval",
        "A person is to read a plan and approve or refuse it; or somebody has paused the run.",
        at_once(runs, "prefect.flow-run.Suspended", related=ours),
        "{{ flow.name }} waits for approval, or was paused",
        "{{ flow.name }} {{ flow_run.name }}: read its plan, then Resume or `redrive approve`; was it paused: Resume"
        "\n{{ flow_run|ui_url }}",
    )
    yield tell(
        "a cluster is unavailable",
        "Events of a cluster's topics can't be published; producers store them. One that comes and goes is told once.",
        at_once(clusters, UNAVAILABLE, within=quiet),
        "cluster {{ event.payload.cluster }} is unavailable",
        reasons,
    )
    held = f"{quiet.total_seconds() / 60:g} minutes"
    yield tell(
        "a cluster has recovered",
        f"A cluster that was unavailable has taken events for {held} on end. The replay starts at once, before that.",
        EventTrigger(
            match=clusters,
            after={RECOVERED},
            # A recovery that is followed by another one is not the one to wait for; with these, the wait begins anew.
            expect={UNAVAILABLE, RECOVERED},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=quiet,
        ),
        "cluster {{ event.payload.cluster }} takes events again",
        f"It has for {held}. What producers stored is replayed by itself; what still waits: `redrive standby status`\n"
        "{% if event.payload.reasons %}When it came back:\n" + reasons + "{% endif %}",
    )
    yield tell(
        "a cluster is unwell",
        "Something else is wrong with a cluster, the standby store or a job, and was not before.",
        at_once(clusters, UNWELL),
        "cluster {{ event.payload.cluster }} is unwell",
        reasons,
    )
    yield tell(
        "clusters are not looked at",
        "No run of cluster-health has come to its end for some time: no worker, no database, or a broken schedule.",
        EventTrigger(
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*", WATCH]}),
            match_related=ResourceSpecification(dict(LOOKS)),
            # Told once: it begins to wait anew with the next look that succeeds, or when this is deployed again.
            after={"prefect.flow-run.Completed", WATCH_BEGUN},
            expect={"prefect.flow-run.Completed"},
            posture=Posture.Proactive,
            threshold=1,
            within=silence,
        ),
        "clusters are not looked at",
        f"No run of cluster-health was completed for {silence.total_seconds() / 60:g} minutes: no worker, or no "
        "ledger? What to do: docs/runbooks/nobody-looks.md",
    )
