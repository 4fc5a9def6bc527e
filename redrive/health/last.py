"""The last look at a cluster, which the next one goes on from."""

from __future__ import annotations

from redrive.config import Config
from redrive.errors import ConfigError, UnavailableError
from redrive.ledger import Ledger, Look


def last_look(config: Config, cluster: str) -> Look | None:
    """Give it; None if there was none, or if the ledger does not answer, which is told elsewhere."""
    try:
        with Ledger.open(config.ledger_url()) as ledger:
            return ledger.looks.last(cluster)
    except (UnavailableError, ConfigError):
        return None
