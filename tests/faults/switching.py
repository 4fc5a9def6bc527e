"""A program under test: one life of a switch of producers, with the copy that goes on meanwhile, that kills itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from redrive.aliases import switching
from redrive.aliases.turning import alias_back, alias_forth
from redrive.config import Config
from redrive.migrations import copying
from redrive.migrations.migration import prepare
from redrive.standby import drain
from tests.faults.fuses import Fuse, fused_sink, fused_store
from tests.faults.processes import enter
from tests.stack.migrations.live import following

_TRANSACTIONS = 5.0
"""Seconds after which brokers abort what a killed life has left open."""


class Job(msgspec.Struct):
    """What to do, and where to die.

    Attributes:
        settings: the platform's file.
        way: ``forth`` or ``back``.
        point: such as ``after write_alias:2``; empty for none. See `tests.faults.fuses`.
    """

    settings: str
    source: str
    target: str
    way: str
    operation: str
    log: str
    point: str = ""


def main(job: Job) -> None:
    enter(Path(job.log))
    fuse, there = Fuse(job.point), (job.source, job.target)
    stage: Any = switching
    stage.write_alias = fuse.wrap("write_alias", stage.write_alias)
    stage.CatchingUp.wait = fuse.wrap("wait", stage.CatchingUp.wait)
    drain.DynamoStore = fused_store(fuse)  # type: ignore[misc]
    drain.TransactionalSink = fused_sink(fuse, _TRANSACTIONS)  # type: ignore[misc]
    copying.TransactionalSink = fused_sink(Fuse(""), _TRANSACTIONS)  # type: ignore[misc]
    config = Config.load(job.settings)
    rules = config.rule_file("rules.yaml")
    if job.way == "forth":
        moved = prepare(config, *there, rules=rules, register=True)
        alias = alias_forth(config, moved)
    else:
        moved = prepare(config, *there[::-1], rules=rules, direction="down", register=True)
        found = alias_back(config, *there)
        assert found is not None, "it was never switched"
        alias = found
    with following(config, moved):
        done = switching.switch(config, alias, operation=job.operation, settle=0.5, patience=60)
    print(f"over to {done.alias.current}; {done.no_places or 'places are known'}", flush=True)
