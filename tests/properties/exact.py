"""The least bytes that bring a layout within given bounds, by an exact solver (HiGHS), to check ours against."""

from __future__ import annotations

from collections.abc import Mapping

import highspy

from redrive.partitions.layout import Layout


def least_bytes(
    layout: Layout, low: Mapping[int, float], high: Mapping[int, float], takes: frozenset[int], gives: frozenset[int]
) -> int | None:
    """Solve it as a mixed-integer program; None if no placement is within the bounds.

    The rack rule: a partition that is on as many racks as it can be stays so, with at most one replica more on one rack
    than on another. (Layouts that break it are not for this solver.)
    """
    solver = highspy.Highs()
    solver.silent()
    racks = sorted({str(broker.rack) for broker in layout.brokers})
    loads: dict[int, list[object]] = {broker.id: [] for broker in layout.brokers}
    cost: list[object] = []
    for partition in layout.partitions:
        held: dict[int, object] = {}
        for broker in layout.brokers:
            holds = broker.id in partition.replicas
            if (holds and broker.id not in gives) or (not holds and broker.id not in takes):
                lower = upper = float(holds)
            else:
                lower, upper = 0.0, 1.0
            held[broker.id] = solver.addVariable(lb=lower, ub=upper, type=highspy.HighsVarType.kInteger)
            loads[broker.id].append(partition.size * held[broker.id])
            if not holds:
                cost.append(partition.size * held[broker.id])
        factor = len(partition.replicas)
        solver.addConstr(sum(held.values()) == factor)
        for rack in racks if len(racks) > 1 else []:
            here = sum(held[broker.id] for broker in layout.brokers if str(broker.rack) == rack)
            solver.addConstr(here >= factor // len(racks))
            solver.addConstr(here <= -(-factor // len(racks)))
    for broker, load in loads.items():
        solver.addConstr(sum(load) >= low[broker])
        solver.addConstr(sum(load) <= high[broker])
    solver.minimize(sum(cost))
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    return round(solver.getInfo().objective_function_value)
