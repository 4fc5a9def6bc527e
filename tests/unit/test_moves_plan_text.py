"""The plan of moves as people see it."""

from __future__ import annotations

import pytest

from redrive.partitions.layout import Move, reassignment_json
from redrive.partitions.waves import Limits
from tasks.partition_rebalance.plan import MOST_AS_JSON, plan_text
from tasks.partition_rebalance.steps import Decided, Terms

TERMS = Terms(50.0, Limits(), roll_back=False)


@pytest.mark.parametrize("many", [False, True])
def test_a_plan_says_what_kafka_s_own_tool_reads_or_how_to_get_it_if_that_is_long(many: bool) -> None:
    moves = [Move("orders", number, (1, 2), (3, 2), 10) for number in range(MOST_AS_JSON + many)]
    text = plan_text(None, Decided(moves, moves, "digest", []), TERMS, mode="plan", run_id="4d5e6f70")
    assert (reassignment_json(moves) in text) is not many
    assert ("redrive operations show 4d5e6f70 --reassignment-json FILE" in text) is many
