"""``redrive automations``: who is told when a job fails, a cluster is not well, or nobody looks at clusters any more.

What *starts* jobs are triggers in ``prefect.yaml``, made by deploying. These send something, and so need a block of
Prefect that says where to; the settings name it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from redrive.cli.output import out
from redrive.config import Config
from redrive.errors import ConfigError
from redrive.health.changes import UNAVAILABLE, UNWELL

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger

PREFIX = "redrive: "
"""How the names of all of them begin; others are nobody's business here."""
SILENCE = timedelta(minutes=10)


def automations() -> None:
    """Make or update the automations that notify, by the block that the settings name; without one, delete them."""
    from deployments.follow import connected

    with connected() as client:
        names = apply(client, Config.load().notifications.block)
    for name in names:
        out.print(name, markup=False, highlight=False)
    if not names:
        out.print("Nobody is told: the settings name no block, [notifications] block = \"slack-webhook/oncall\"",
                  markup=False, highlight=False)  # fmt: skip


def apply(client: SyncPrefectClient, block: str | None, silence: timedelta = SILENCE) -> list[str]:
    """Make Prefect have just these automations, of those whose names are ours; give their names.

    Args:
        client: Prefect's API.
        block: a notification block, by type and name; None: none are wanted.
        silence: how long no look at clusters may have been finished, before somebody is told.

    Raises:
        ConfigError: there is no such block.
    """
    wanted = {each.name: each for each in _notifying(_document(client, block), silence)} if block else {}
    there = one_of_each(client)
    for name, automation in wanted.items():
        if name in there:
            automation.enabled = there[name].enabled  # somebody may have switched it off
            client.update_automation(there[name].id, automation)
        else:
            client.create_automation(automation)
    for name in there.keys() - wanted.keys():
        client.delete_automation(there[name].id)
    one_of_each(client)
    return list(wanted)


def one_of_each(client: SyncPrefectClient, names: Collection[str] | None = None) -> dict[str, Automation]:
    """Give the automations of these names, or of ours, by name; of those that are there twice, one is kept.

    Two that make them at once find none, and each makes its own; whoever looks last here finds both. All keep the same.
    """
    from prefect.exceptions import PrefectHTTPStatusError

    kept: dict[str, Automation] = {}
    for each in sorted(client.read_automations(), key=lambda automation: str(automation.id)):
        if not (each.name.startswith(PREFIX) if names is None else each.name in names):
            continue
        if kept.setdefault(each.name, each) is not each:
            try:
                client.delete_automation(each.id)
            except PrefectHTTPStatusError as error:
                if error.response.status_code != HTTPStatus.NOT_FOUND:  # somebody else was as quick
                    raise
    return kept


def _document(client: SyncPrefectClient, block: str) -> UUID:
    from prefect.exceptions import ObjectNotFound

    kind, _, name = block.partition("/")
    try:
        return client.read_block_document_by_name(name, kind, include_secrets=False).id
    except ObjectNotFound:
        reason = f"Prefect has no block {block}; make it in its UI, under Blocks, or correct its type and name"
        raise ConfigError("notifications.block", reason) from None


def _notifying(block: UUID, silence: timedelta) -> Iterator[AutomationCore]:
    from prefect.events.actions import SendNotification
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    def tell(name: str, description: str, trigger: EventTrigger, subject: str, body: str) -> AutomationCore:
        action = SendNotification(block_document_id=block, subject=subject, body=body)
        return AutomationCore(name=PREFIX + name, description=description, trigger=trigger, actions=[action])

    runs = ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})
    ours = ResourceSpecification({"prefect.resource.id": "prefect.tag.redrive", "prefect.resource.role": "tag"})
    yield tell(
        "a job has failed",
        "A run of one of Redrive's jobs has ended badly, has paused for what nobody knows yet, or has crashed.",
        EventTrigger(
            match=runs,
            match_related=ours,
            expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed", "prefect.flow-run.TimedOut"},
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        "{{ flow.name }}: {{ flow_run.state.name }}",
        "{{ flow.name }} {{ flow_run.name }}: {{ flow_run.state.message }}\n{{ flow_run|ui_url }}",
    )
    yield tell(
        "a run waits for approval",
        "A person is to read a plan and approve or refuse it.",
        EventTrigger(
            match=runs,
            match_related=ours,
            expect={"prefect.flow-run.Suspended"},
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        "{{ flow.name }} waits for approval",
        "{{ flow.name }} {{ flow_run.name }}: read its plan, then Resume or `redrive approve`\n{{ flow_run|ui_url }}",
    )
    of_clusters = {
        "unavailable": (UNAVAILABLE, "Events of a cluster's topics can't be published; producers store them."),
        "unwell": (UNWELL, "Something else is wrong with a cluster, the standby store or a job, and was not before."),
    }
    for verdict, (event, description) in of_clusters.items():
        yield tell(
            f"a cluster is {verdict}",
            description,
            EventTrigger(
                match=ResourceSpecification({"prefect.resource.id": "redrive.cluster.*"}),
                expect={event},
                for_each={"prefect.resource.id"},
                posture=Posture.Reactive,
                threshold=1,
            ),
            f"cluster {{{{ event.payload.cluster }}}} is {verdict}",
            "{% for reason in event.payload.reasons %}{{ reason.what }}\n→ {{ reason.way_out }}\n{% endfor %}",
        )
    yield tell(
        "clusters are not looked at",
        "No run of cluster-health has come to its end for some time: no worker, no database, or a broken schedule.",
        EventTrigger(
            match=runs,
            match_related=ResourceSpecification(
                {"prefect.resource.name": "cluster-health", "prefect.resource.role": "flow"}
            ),
            # Told once: it begins to wait anew with the next look that succeeds.
            after={"prefect.flow-run.Completed"},
            expect={"prefect.flow-run.Completed"},
            posture=Posture.Proactive,
            threshold=1,
            within=silence,
        ),
        "clusters are not looked at",
        f"No run of cluster-health was completed for {silence.total_seconds() / 60:g} minutes: no worker, or no "
        "ledger? What to do: docs/runbooks/nobody-looks.md",
    )
