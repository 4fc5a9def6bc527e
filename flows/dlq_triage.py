"""The job `dlq-triage`: what came to the dead-letter topics, why, and how long it will be there."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run as runtime

from redrive.config import Config
from tasks.dlq_triage.form import Triage
from tasks.dlq_triage.report import finish_triage
from tasks.dlq_triage.steps import Reading, dead_letter_topics, look, triage_topics
from tasks.operations import operation

JOB = "dlq-triage"


def _run_name() -> str:
    triage = Triage.model_validate(runtime.parameters["triage"])
    return f"{triage.mode} {', '.join(triage.topics) or triage.cluster or 'all'}"


@flow(name=JOB, flow_run_name=_run_name, persist_result=False)
def dlq_triage(triage: Triage = Triage()) -> State[Any]:  # noqa: B008 (nothing changes it)
    """Enter new dead letters in the ledger, whoever wrote them, and report what is open.

    Reads each dead-letter topic from where the last triage stopped. Keeps who, why, where and when of each letter,
    never its value. It may be cancelled or killed at any time, and run twice at once: each letter is entered once.

    Args:
        triage: Which dead letters to look at.
    """
    config = Config.load()
    topics = dead_letter_topics(config, triage.topics, triage.cluster)
    clusters = ", ".join(sorted({topic.cluster for topic in topics}))
    resources = [f"{topic.cluster}/{topic.name}" for topic in topics]
    parameters = triage.model_dump(mode="json")
    with operation(config, JOB, triage.mode, cluster=clusters, resources=resources, parameters=parameters) as run:
        reading = Reading(config, run, record=triage.mode == "run")
        done, failed = triage_topics(reading, topics)
        return finish_triage(run, triage.mode, done, failed, look(reading, topics))
