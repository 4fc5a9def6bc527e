"""The last look at a cluster, which the next one goes on from."""

from __future__ import annotations

from redrive.config import Config
from redrive.health.facts import Unknown
from redrive.health.within import Asked
from redrive.ledger import Ledger, Look

PATIENCE = 2.0
"""Seconds that the ledger has to give it: what is asked elsewhere must not wait for the ledger."""


def last_look(config: Config, cluster: str) -> Look | None:
    """Give it; None if there was none, or if the ledger does not answer, which is told elsewhere."""

    def question() -> Look | None:
        with Ledger.open(config.ledger_url()) as ledger:
            return ledger.looks.last(cluster)

    answer = Asked(question).answer(PATIENCE)
    return None if isinstance(answer, Unknown) else answer
