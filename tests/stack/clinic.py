"""A platform with dead letters of its own, and rules that put some of them right."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import Artifact

from deployments.follow import artifacts_of
from deployments.local.stack import Stack
from redrive.config import Config
from redrive.deadletters.correction import JOB
from redrive.deadletters.selection import Selection
from redrive.deadletters.triage import triage
from redrive.ledger import Ledger, OperationRow
from redrive.producer import EventProducer
from tests.stack.platform import Platform

RULES = """\
match: first
rules:
  - name: numbers as text
    match: {reason: invalid-value, field: id, when: "type(value.id) == string && value.id.matches('^[0-9]+$')"}
    do:
      - {op: convert, path: /id, to: integer}
  - name: no number at all
    match: {reason: invalid-value, field: id, when: "type(value.id) == string && value.id == 'none'"}
    do:
      - {op: replace, path: /id, value: still no number}
  - name: tests
    match: {reason: invalid-value, field: id, when: "value.note == 'test'"}
    skip: it was a test
"""


class Clinic(Platform):
    """A platform with dead letters of its own, and rules that put some of them right."""

    def __init__(self, stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(stack, folder, monkeypatch)
        self.settings()
        (folder / "rules.yaml").write_text(RULES)

    def settings(self, corrections: str = 'approval = "none"') -> None:
        text = self.file.read_text().partition("[ledger]")[0]
        self.file.write_text(f'{text}[ledger]\nurl = "sqlite:///ledger.db"\n[corrections]\n{corrections}\n')
        self.config = Config.load(self.file)

    def publish(self, *values: Any, key: str = "k") -> None:
        """Publish values with the SDK; those that do not fit become letters."""
        with EventProducer(self.group, self.config, topics=[self.orders]) as producer:
            for value in values:
                producer.publish(self.orders, key, value)

    def triage(self, cluster: str = "one") -> None:
        with Ledger.open(self.config.ledger_url()) as ledger:
            operation = ledger.begin("dlq-triage", "run", cluster=cluster, resources=[], who="anna", parameters={})
            triage(self.config.cluster(cluster).client_config(), cluster, self.dead_letters, ledger.letters, operation)
            operation.finish("done")

    def fates(self) -> dict[int, str]:
        """Offset → fate of each letter."""
        with Ledger.open(self.config.ledger_url()) as ledger:
            letters = ledger.letters.find(Selection(fates=[]), limit=10_000)
        return {letter.sighting.offset: letter.fate for letter in letters}

    def operation(self) -> OperationRow:
        """The latest correction."""
        with Ledger.open(self.config.ledger_url()) as ledger:
            return ledger.operations(1, JOB)[0]  # a worker may run what is scheduled, too

    def values(self) -> list[Any]:
        """What consumers find on the main topic, by offset."""
        reader = self.registry.reader()
        return [reader.decode(message.value() or b"") for message in self.read(self.orders)]

    def shown(self, key: str) -> str:
        """The plan or the report of the latest run."""
        return str(self.artifact(key).data)

    def artifact(self, key: str) -> Artifact:
        """One of the latest run's artifacts."""
        with get_client(sync_client=True) as client:
            return artifacts_of(client, UUID(self.operation().id))[key]
