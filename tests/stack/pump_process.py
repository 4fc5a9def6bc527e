"""A pump as a process of its own, to be killed, stopped and doubled: see `tests.stack.pumping.Lab.process`."""

from __future__ import annotations

import sys

from redrive.errors import FencedError
from redrive.pump.governor import Governor
from tests.stack.pumping import Lab

FENCED = 7


def main() -> int:
    bootstrap, topic, parking, unit, checkpoints, count, rate, timeout = sys.argv[1:]
    lab = Lab({"bootstrap.servers": bootstrap}, topic, parking, unit, checkpoints)
    sink = lab.sink(transaction_timeout=float(timeout))
    events = lab.events(int(count))
    try:
        cursor = sink.start()
        print("started", flush=True)
        governor = Governor(rate=int(rate) or None)
        outcome = lab.pump(events, sink, governor=governor, chunk_bytes=500_000, chunk_seconds=0.1).run(cursor)
    except FencedError:
        print("fenced", flush=True)
        return FENCED
    finally:
        sink.close()
    assert outcome.balanced
    print("done", outcome.published, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
