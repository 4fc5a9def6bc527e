"""A short, fixed set of the campaign's rounds (``python -m tests.faults``), each of which `make soak` can repeat.

Chosen by what is drawn in them: producers and replays that die at many different calls, brokers killed and frozen, one
producer without Kafka, two replays at once, one that wakes as a zombie, and a table that throttles, fails, is slow,
loses answers and goes away.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.local.stack import Stack
from tests.faults.plan import draw
from tests.faults.proxy import Proxy
from tests.faults.rounds import Round

pytestmark = pytest.mark.timeout(300)

SEEDS = (3, 4, 7, 34, 39)


@pytest.fixture
def proxy(fault_stack: Stack) -> Iterator[Proxy]:
    proxy = Proxy(fault_stack.endpoints.dynamodb)
    yield proxy
    proxy.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_doubled_or_overtaken_whoever_dies_when(
    fault_stack: Stack, proxy: Proxy, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in fault_stack.environment().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    report = Round(fault_stack, proxy, draw(seed), tmp_path).run()
    assert not report.violations, str(report)
    assert report.crashes, "nobody has died: the round says little"


def test_the_set_has_producers_that_die_and_a_table_that_fails() -> None:
    plans = [draw(seed) for seed in SEEDS]
    assert all(producer.fuses for plan in plans for producer in plan.producers)
    assert sum(any(action.do == "faults" for action in plan.actions) for plan in plans) >= 3
