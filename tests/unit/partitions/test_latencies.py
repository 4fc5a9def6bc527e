"""What 99 of 100 events did not take longer than, of very many, in little memory."""

from __future__ import annotations

import random

import pytest

from redrive.partitions.probe import Latencies


def test_the_99th_percentile_is_within_five_percent_of_the_exact_one() -> None:
    chance = random.Random(5)
    took = [chance.lognormvariate(-5, 1.5) for _ in range(20_000)]
    latencies = Latencies()
    for seconds in took:
        latencies.add(seconds)
    exact = sorted(took)[19_799]
    assert latencies.events == 20_000
    assert exact <= (latencies.p99() or 0) <= 1.051 * exact


def test_one_slow_event_of_a_hundred_and_one_is_no_percentile_and_two_are() -> None:
    latencies = Latencies()
    assert latencies.p99() is None
    for seconds in [0.01] * 99 + [2.0]:
        latencies.add(seconds)
    assert latencies.p99() == pytest.approx(0.01, rel=0.06)
    latencies.add(2.0)
    assert latencies.p99() == pytest.approx(2.0, rel=0.06)
