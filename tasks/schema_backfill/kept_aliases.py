"""Copies of aliases in the ledger's journal: by them, one that the control topic has lost is written anew as it was."""

from __future__ import annotations

import msgspec

from redrive.aliases.alias import Alias
from tasks.operations import Run


def keep_alias(run: Run, alias: Alias) -> None:
    """Keep an alias that consumers are about to be told. The run has to be on the alias's cluster."""
    run.note(_kind(alias.name), msgspec.to_builtins(alias, str_keys=True))


def kept_alias(run: Run, cluster: str, name: str) -> Alias | None:
    """Give the alias that was kept last of a name on a cluster; None: none ever was."""
    entry = run.ledger.latest(_kind(name), cluster)
    return None if entry is None else msgspec.convert(entry.body, Alias, str_keys=True)


def _kind(name: str) -> str:
    """Give the journal's word for: this is what consumers were told that a name stands for."""
    return f"alias of {name}"
