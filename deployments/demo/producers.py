"""The demo's producers: each a process of its own, with its share of the planes, at a steady pace."""

from __future__ import annotations

import json
import sys
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from deployments.demo.flights import PRODUCER, TOPIC, flights
from redrive.config import Config
from redrive.errors import RedriveError
from redrive.producer import EventProducer
from redrive.receipts import Receipt


def publish(share: int, shares: int, rate: float, report: Path) -> None:
    """Publish every flight of the planes of this share; write down what each call and each receipt said.

    Args:
        share: which one, from 0.
        shares: how many producers there are.
        rate: events a second, of this producer.
        report: JSON lines of progress; the last one has ``done`` and the row numbers by path.
    """
    receipts: list[tuple[int, Receipt]] = []
    errors: list[str] = []
    with EventProducer(PRODUCER, Config.load(), topics=[TOPIC]) as producer, report.open("w") as lines:
        started = told = time.monotonic()
        for number, plane, event in flights():
            if zlib.crc32((plane or "").encode()) % shares != share:
                continue
            try:
                receipts.append((number, producer.publish(TOPIC, plane, event, event_id=f"flight-{number}")))
            except RedriveError as error:
                errors.append(f"flight-{number}: {error}")
            ahead = len(receipts) / rate - (time.monotonic() - started)
            if ahead > 0.01:
                time.sleep(ahead)
            if time.monotonic() - told > 0.5:
                told = time.monotonic()
                _tell(lines, {"published": len(receipts), "errors": len(errors), **producer.counts})
        producer.flush()
        rows: dict[str, list[int]] = {"main": [], "standby": [], "dead_letter": []}
        for number, receipt in receipts:
            try:
                rows[receipt.result(0).path].append(number)
            except RedriveError as error:
                errors.append(str(error))
        _tell(lines, {"published": len(receipts), "errors": len(errors), **producer.counts})
    with report.open("a") as lines:
        _tell(lines, {"done": True, "rows": rows, "errors": errors})


def _tell(lines: TextIO, what: Mapping[str, object]) -> None:
    print(json.dumps(what), file=lines, flush=True)


if __name__ == "__main__":
    publish(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
