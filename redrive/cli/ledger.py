"""The ledger that commands ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redrive.config import Config

if TYPE_CHECKING:
    from redrive.ledger import Ledger


def open_ledger() -> Ledger:
    """Open the ledger that the settings name; close it, or use it in a ``with`` statement.

    Raises:
        ConfigError: a mistake in the settings, or the ledger is of a newer version of Redrive.
        UnavailableError: its database does not answer.
    """
    from redrive.ledger import Ledger

    return Ledger.open(Config.load().ledger_url())
