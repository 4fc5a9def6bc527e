"""Each guard of the protocol, taken out, is found out: so each is needed, and the explorer would see it fail."""

from __future__ import annotations

import pytest

from tests.explorer.explore import exhaust
from tests.explorer.mutations import MUTATIONS, Mutation
from tests.explorer.scenarios import BY_NAME


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_without_this_guard_a_promise_is_broken(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation.apply(monkeypatch)
    runs = 0
    for budget in range(mutation.budget + 1):
        report = exhaust(BY_NAME[mutation.scenario], budget, seek=mutation.breaks)
        runs += report.runs
        if report.found:
            print(f"{mutation.name}: {report.found.reason}\n{runs} runs of: {mutation.scenario}")
            return
    pytest.fail(f"{runs} runs of {mutation.scenario!r} get by without: {mutation.name}")
