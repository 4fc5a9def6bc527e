"""When a scaling needs its limits measured, and how its plan tells how partitions will be moved."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flows import broker_scaling as flow
from flows.broker_scaling import Scale, set_about
from redrive.config import RebalancingConfig
from redrive.errors import FleetError, GoalError, UnavailableError
from redrive.fleets.growth import Growth
from tasks.broker_scaling import steps as scaling
from tasks.broker_scaling.steps import MovesTerms
from tasks.operations import NOBODY, WHO_LABEL
from tasks.partition_rebalance.limits import StrainLimits
from tasks.partition_rebalance.plan import throttle_facts


def refuses(_: object) -> None:
    raise GoalError("watched_groups", "billing has committed nothing")


@pytest.fixture(autouse=True)
def can_t_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("measure_load", "look_at_fleet"):
        monkeypatch.setattr(flow, name, lambda *_: None)
    monkeypatch.setattr(flow, "check_moves", refuses)
    monkeypatch.setattr(flow, "check_who", lambda _: None)
    monkeypatch.setattr(flow, "who_asks", lambda _: "")
    monkeypatch.setattr(flow, "hold_on", lambda *_: None)
    monkeypatch.setattr(flow, "is_stale", lambda *_: False)


def work(growth: Growth | None = None, plan: dict[str, Any] | None = None) -> Any:
    run = SimpleNamespace(who="anna", known_plan=plan, finish=lambda *_, **__: None, claim=lambda *_, **__: None)
    scaling = SimpleNamespace(needs_approval=lambda _: True)
    return SimpleNamespace(run=run, up={1, 2, 3}, growth=growth, config=SimpleNamespace(scaling=scaling))


def decides(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    decision = SimpleNamespace(answer=answer, why="because", target=4)
    monkeypatch.setattr(flow, "weigh", lambda *_: decision)


@pytest.mark.parametrize("mode", ["plan", "run"])
def test_limits_that_can_t_be_measured_are_refused_only_where_something_is_to_be_set_about(
    monkeypatch: pytest.MonkeyPatch, mode: Any
) -> None:
    decides(monkeypatch, "leave")
    assert set_about(work(), Scale(mode=mode)) == (None, "because")
    for answer in ("add", "fill"):
        decides(monkeypatch, answer)
        with pytest.raises(GoalError):
            set_about(work(), Scale(mode=mode))


def test_they_are_refused_once_more_when_what_was_shown_is_approved() -> None:
    with pytest.raises(GoalError):
        set_about(work(plan={"before": [1, 2, 3], "target": 4}), Scale(mode="run"))


def test_what_a_run_before_has_begun_comes_to_its_end_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = work(Growth.new((1, 2, 3), 4, {}))
    monkeypatch.setattr(flow, "Config", SimpleNamespace(load=lambda: None))
    monkeypatch.setattr(flow, "scaled_clusters", lambda *_: ["east"])
    monkeypatch.setattr(flow, "operation", lambda *_, **__: nullcontext(begun.run))
    monkeypatch.setattr(flow, "Scaling", lambda *_: begun)
    monkeypatch.setattr(flow, "carry_out", lambda _, growth, *__: growth)
    assert cast(Any, flow.broker_scaling).fn(Scale(mode="run")) == begun.growth


def test_the_plan_says_which_throttle_moves_will_have_and_what_limits_do() -> None:
    limits = StrainLimits(produce_latency=0.5)
    while_ = "1 of 100 events takes more than 500 ms to publish"
    assert throttle_facts(50.0, StrainLimits()) == [["throttle", "50 MB/s per broker"]]
    assert throttle_facts("auto", limits) == [
        ["throttle", "as limits allow, from 10 MB/s per broker"],
        ["moves pause, and are slower, while", while_],
    ]
    assert throttle_facts(None, limits) == [["throttle", "none"], ["moves pause while", while_]]


def test_how_partitions_are_to_move_is_kept_with_what_was_set_about_whoever_goes_on_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flow, "check_moves", lambda _: None)
    shown = {"throttle": 7.0, "max_produce_latency": 500, "watched_groups": []}
    growth, _ = set_about(work(plan={"before": [1, 2, 3], "target": 4, "moves": shown}), Scale(mode="run"))
    assert growth is not None
    started: list[dict[str, Any]] = []
    who: list[str] = []

    class Client:
        def read_deployment_by_name(self, _: str) -> Any:
            return SimpleNamespace(id="there")

        def create_flow_run_from_deployment(
            self, _: str, *, parameters: dict[str, Any], labels: dict[str, str], **__: Any
        ) -> Any:
            started.append(parameters["rebalance"])
            who.append(labels[WHO_LABEL])
            return SimpleNamespace(id="a-run")

    monkeypatch.setattr(scaling, "get_client", lambda **_: nullcontext(Client()))
    run = SimpleNamespace(job="broker-scaling", id="b", who="anna")
    another = SimpleNamespace(run=run, cluster="east", moves=MovesTerms(99.0))
    assert scaling.start_moves.fn(cast(Any, another), growth) == "a-run"
    assert {name: started[0][name] for name in shown} == shown
    assert who == ["anna"]


@pytest.mark.parametrize(
    ("who", "rebalancing", "refused"),
    [
        (NOBODY, {"four_eyes": True}, True),
        ("anna", {"four_eyes": True}, False),
        (NOBODY, {"four_eyes": True, "approval": "none"}, False),
        (NOBODY, {"four_eyes": False}, False),
    ],
)
def test_moves_that_nobody_could_approve_keep_brokers_from_being_asked_for(
    who: str, rebalancing: dict[str, Any], refused: bool
) -> None:
    config = SimpleNamespace(rebalancing=RebalancingConfig(**rebalancing))
    run = SimpleNamespace(job="broker-scaling", who=who)
    work: Any = SimpleNamespace(config=config, run=run, cluster="east")
    way_out = r"four_eyes.*`redrive run broker-scaling --mode run --cluster east`"
    with pytest.raises(GoalError, match=way_out) if refused else nullcontext():
        scaling.check_who(work)


@pytest.mark.parametrize(
    ("error", "step"), [(FleetError("fleet", "no quota"), "ended"), (UnavailableError("fleet", "no answer"), "asking")]
)
def test_an_order_that_the_fleet_may_have_taken_is_not_given_up(
    monkeypatch: pytest.MonkeyPatch, error: Exception, step: str
) -> None:
    def asks(*_: object) -> None:
        raise error

    entered: list[Growth] = []

    def enter(growth: Growth, **changes: Any) -> Growth:
        entered.append(replace(growth, **changes))
        return entered[-1]

    monkeypatch.setattr(flow, "ask_for_brokers", asks)
    with pytest.raises(type(error)):
        flow.carry_out(cast(Any, SimpleNamespace(enter=enter)), Growth.new((1, 2, 3), 4, {}), Scale(mode="run"), "")
    assert entered[-1].step == step
