"""A cluster on paper that a real command adds brokers to, for a scaling that is killed, overtaken, or held up.

The fleet, its commands, the settings and the ledger are real. Kafka is not: a file says how many brokers there are, as
``kubectl scale`` would, which takes brokers away if it is given a smaller number. What a scaling does on a real cluster
is tested in ``tests/stack/test_broker_scaling.py``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flows import broker_scaling as flow
from redrive.config import Config
from redrive.fleets import CommandFleet, Sample
from redrive.fleets.growth import KIND, Growth
from redrive.ledger import Ledger
from redrive.partitions.state import BrokerState, LogDirs, PartitionState
from tasks.broker_scaling import steps as scaling
from tasks.broker_scaling.steps import Moves, MovesTerms, Scaling
from tasks.operations import WHO_LABEL

CLUSTER = "yard"
SETTINGS = """\
[registry]
url = "http://unused"
[ledger]
url = "sqlite:///ledger.db"
[scaling]
approval = "{approval}"
[clusters.yard]
bootstrap = "unused:9092"
[clusters.yard.fleet]
kind = "command"
load = ["echo", "unused"]
add = ["sh", "add.sh", "{{brokers}}"]
[domains.shop]
cluster = "yard"
[topics.orders]
domain = "shop"
"""
SCALE = flow.Scale.model_validate({"mode": "run", "window": 1, "patience": 1, "cool_down": 3_600})


@dataclass
class Paper:
    """The cluster, and the runs there.

    Attributes:
        folder: of the settings.
        filled: brokers that hold something.
        cpu: of each broker, in percent, for as long as anybody asks.
        started: the keys of the runs of moves that were started; one of a key that is there already is none.
        started_by: who counts as who has started them.
        who: starts the runs from now on.
    """

    folder: Path
    ledger: Ledger
    filled: set[int] = field(default_factory=lambda: {1, 2, 3})
    cpu: float = 75.0
    down: set[int] = field(default_factory=set)
    moving: dict[Any, Any] = field(default_factory=dict)
    started: dict[str, dict[str, Any]] = field(default_factory=dict)
    started_by: list[str] = field(default_factory=list)
    who: str = "x"
    runs: int = 0

    def settings(
        self, approval: str = "none", add: str = 'echo "$1" >>orders; echo "$1" >brokers', more: str = ""
    ) -> None:
        (self.folder / "redrive.toml").write_text(SETTINGS.format(approval=approval) + more)
        (self.folder / "add.sh").write_text(add)

    def scale_by_hand(self, brokers: int) -> None:
        (self.folder / "brokers").write_text(str(brokers))

    @property
    def there(self) -> int:
        return int((self.folder / "brokers").read_text())

    @property
    def orders(self) -> list[int]:
        file = self.folder / "orders"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    @property
    def growth(self) -> Growth | None:
        entry = self.ledger.latest(KIND, CLUSTER)
        return Growth.read(entry.body) if entry else None

    def began(self, job: str, name: str, **parameters: Any) -> Any:
        given = {"cluster": CLUSTER, "resources": [CLUSTER], "who": "x", "parameters": parameters}
        return self.ledger.begin(job, "run", operation_id=name, **given)  # type: ignore[arg-type]

    def work(self, plan: dict[str, Any] | None = None) -> Scaling:
        """Begin another run; with the plan that it has shown before."""
        self.runs += 1
        name = f"scaling-{self.runs}"
        operation = self.began(flow.JOB, name)
        run = SimpleNamespace(
            id=name, job=flow.JOB, url="", who=self.who, ledger=self.ledger, note=operation.note, known_plan=plan,
            keep_plan=operation.plan, lost=SimpleNamespace(is_set=lambda: False), finish=lambda *_, **__: None,
            claim=lambda *_, **__: None,
        )  # fmt: skip
        work = Scaling(Config.load(self.folder / "redrive.toml"), cast(Any, run), CLUSTER, MovesTerms())
        work.look()
        return work

    def measure(self, work: Scaling, seconds: float) -> None:
        now, load = time.time(), dict.fromkeys(work.up, self.cpu)
        work.samples = [Sample(now - seconds + at * seconds / 10, load) for at in range(11)]

    # What `redrive.partitions.reader.PartitionReader` tells.
    cluster = CLUSTER

    def brokers(self) -> dict[int, BrokerState]:
        return {id_: BrokerState(id_, None, id_ not in self.down) for id_ in range(1, self.there + 1)}

    def partitions(self) -> dict[tuple[str, int], PartitionState]:
        return {("orders", id_): PartitionState("orders", id_, (id_,), id_, frozenset({id_})) for id_ in self.filled}

    def ongoing(self) -> dict[Any, Any]:
        return self.moving

    def settings_in_force(self, *_: Any) -> dict[Any, Any]:
        return {}

    def log_dirs(self, ids: list[int], _: Any = None) -> dict[int, LogDirs]:
        return {id_: LogDirs() for id_ in ids}


class Killed(BaseException):
    """The process was killed."""


def paper(folder: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Paper:
    """Make a cluster of three brokers; flows run there without Prefect."""
    town = Paper(folder, ledger)
    town.settings()
    town.scale_by_hand(3)
    reader = SimpleNamespace(
        cluster=CLUSTER, brokers=town.brokers, partitions=town.partitions, ongoing=town.ongoing,
        settings=town.settings_in_force, log_dirs=town.log_dirs, offsets=lambda keys, **_: dict.fromkeys(keys, 0),
    )  # fmt: skip
    monkeypatch.setattr(scaling, "PartitionReader", lambda _: nullcontext(reader))
    monkeypatch.setattr(scaling, "EVERY", 0.05)
    monkeypatch.setattr(flow, "measure_load", town.measure)
    for name in ("look_at_fleet", "check_moves", "ask_for_brokers", "wait_for_brokers", "start_moves"):
        monkeypatch.setattr(flow, name, getattr(flow, name).fn)
    for module in (flow, scaling):
        monkeypatch.setattr(module, "get_run_logger", lambda: logging.getLogger("scaling"))
    for name in ("report_plan", "emit_high"):
        monkeypatch.setattr(flow, name, lambda *_, **__: None)
    monkeypatch.setattr(flow, "who_asks", lambda _: "")
    monkeypatch.setattr(flow, "approve", lambda *_, **__: "anna: go on")
    monkeypatch.setattr(flow, "follow_moves", lambda *_: Moves("", "proved", "all moved"))
    monkeypatch.setattr(flow, "cut_off", lambda _, word, error: f"{word}: {error}")
    monkeypatch.setattr(flow, "finish", lambda *_: "proved")
    monkeypatch.setattr(flow, "finish_early", lambda _, word, why: f"{word}: {why}")
    monkeypatch.setattr(flow, "refused", lambda _, why: f"refused: {why}")
    monkeypatch.setattr(scaling, "get_client", lambda **_: nullcontext(_Prefect(town)))
    return town


class _Prefect:
    def __init__(self, town: Paper) -> None:
        self._town = town

    def read_deployment_by_name(self, _: str) -> Any:
        return SimpleNamespace(id="there")

    def create_flow_run_from_deployment(
        self, _: str, *, parameters: dict[str, Any], labels: dict[str, str], idempotency_key: str
    ) -> Any:
        if idempotency_key not in self._town.started:
            self._town.started_by.append(labels[WHO_LABEL])
        self._town.started.setdefault(idempotency_key, parameters["rebalance"])
        self._town.filled |= set(parameters["rebalance"]["brokers"])
        return SimpleNamespace(id=idempotency_key)


def runs(town: Paper, plan: dict[str, Any] | None = None, scale: flow.Scale = SCALE) -> str:
    """Let a run of the whole job take its course; gives how it ended."""
    work = town.work(plan)

    @contextmanager
    def operation(*_: Any, **__: Any) -> Any:
        yield work.run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow, "Config", SimpleNamespace(load=lambda: work.config))
        patch.setattr(flow, "operation", operation)
        patch.setattr(flow, "Scaling", lambda *_: work)
        return str(cast(Any, flow.broker_scaling).fn(scale))


def killed_at(point: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Have the process killed before or after one of its effects, counted from 0; gives whether it was, by then."""
    reached = 0

    def counted(effect: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **more: Any) -> Any:
            nonlocal reached
            for after in (False, True):
                reached += 1
                if reached == point + 1:
                    raise Killed
                if not after:
                    result = effect(*given, **more)
            return result

        return run

    for place, name in ((Scaling, "enter"), (CommandFleet, "grow"), (_Prefect, "create_flow_run_from_deployment")):
        monkeypatch.setattr(place, name, counted(getattr(place, name)))
    return lambda: reached > point
