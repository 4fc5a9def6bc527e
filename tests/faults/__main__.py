"""A long campaign: ``python -m tests.faults --rounds 40 --seed 1``; each round can be repeated by its seed.

``--job dlq-correction`` is the campaign of corrections, ``--job schema-backfill`` that of backfills, on a stack that
nothing else is done to; ``--job partition-rebalance`` that of moves, some of which lose a broker.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from deployments.local.stack import Stack
from tests.faults.backfill_rounds import campaign as backfills
from tests.faults.correction_campaign import campaign as corrections
from tests.faults.moves_rounds import campaign as moves
from tests.faults.plan import draw
from tests.faults.proxy import Proxy
from tests.faults.rounds import Report, Round


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    arguments.add_argument("--rounds", type=int, default=os.environ.get("ROUNDS", "40"))
    arguments.add_argument("--seed", type=int, default=os.environ.get("SEED", str(int(time.time()))))
    arguments.add_argument(
        "--job",
        choices=["standby-replay", "dlq-correction", "schema-backfill", "partition-rebalance"],
        default="standby-replay",
    )
    arguments.add_argument("--folder", type=Path, default=None, help="keep data, journals and logs here")
    given = arguments.parse_args()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    folder = given.folder or Path(tempfile.mkdtemp(prefix="redrive-soak-"))
    print(f"{given.rounds} rounds from seed {given.seed}; journals and logs in {folder}", flush=True)
    reports: list[Report] = []
    stack = Stack(folder / "stack", "free", prefect=False)
    try:
        stack.up()
        os.environ |= {name: value for name, value in stack.environment().items() if name.startswith("AWS_")}
        if given.job == "dlq-correction":
            return int(not corrections(stack.endpoints, folder, given.rounds, given.seed))
        if given.job == "schema-backfill":
            return int(not backfills(stack, folder, given.rounds, given.seed))
        if given.job == "partition-rebalance":
            return int(not moves(stack, folder, given.rounds, given.seed))
        proxy = Proxy(stack.endpoints.dynamodb)
        for seed in range(given.seed, given.seed + given.rounds):
            report = Round(stack, proxy, draw(seed), folder / f"round-{seed}").run()
            reports.append(report)
            _tell(report)
        proxy.close()
    except KeyboardInterrupt:
        print("stopped")
    finally:
        stack.down(wipe=True)
    _sum_up(reports)
    return int(any(report.violations for report in reports))


def _tell(report: Report) -> None:
    verdict = report.verdict
    print(
        f"seed {report.plan.seed}: {'VIOLATED' if report.violations else 'clean'} in {report.seconds:.0f} s, "
        f"{verdict.records} records, {sum(verdict.acknowledged.values())} acknowledged, {verdict.replayed} replayed, "
        f"{sum(report.crashes.values())} crashes, {len(verdict.late)} late, {len(verdict.orphans)} orphans",
        flush=True,
    )
    if report.violations:
        print(report, flush=True)


def _sum_up(reports: list[Report]) -> None:
    crashes: Counter[str] = sum((report.crashes for report in reports), Counter())
    done: Counter[str] = sum((report.done for report in reports), Counter())
    met: Counter[str] = sum((report.met for report in reports), Counter())
    for title, counts in (("crashes", crashes), ("done to the system", done), ("requests to the store", met)):
        print(f"\n{title}: {sum(counts.values())}")
        for name, count in sorted(counts.items()):
            print(f"  {count:6} {name}")
    late = [len(report.verdict.late) for report in reports if report.verdict.late]
    print(f"\nrounds {len(reports)}, records {sum(report.verdict.records for report in reports):,}")
    print(f"late produce requests: {sum(late)} events twice, in {len(late)} rounds")
    print(f"orphaned batches: {sum(len(report.verdict.orphans) for report in reports)}")
    violated = [report.plan.seed for report in reports if report.violations]
    print(f"violated: {violated or 'none'}")


if __name__ == "__main__":
    sys.exit(main())
