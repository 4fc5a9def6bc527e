"""Reads a topic anew that was brought to another schema where it is, and says what is wrong with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import cast

from confluent_kafka import Message

from redrive.events import Event, headers_of
from redrive.migrations.in_place.log import PartitionLog
from redrive.migrations.in_place.newest import origin_offset
from redrive.migrations.in_place.stock import Stock, outdated
from redrive.migrations.survey import Standing
from redrive.migrations.unit import Unit, source_offset
from redrive.migrations.verifying import Checked, Compare, Comparison
from redrive.pump.limits import limits_of
from redrive.pump.model import Transform
from redrive.pump.names import OPERATION_HEADER
from redrive.pump.readback import ClientConfig, end_offsets


def check(
    client_config: ClientConfig,
    standing: Standing,
    transform: Transform,
    *,
    operation: str,
    target: int,
    compare: Compare,
    every: int = 1,
    refused: int = 0,
) -> tuple[Checked, Stock]:
    """Check one partition, and count its keys.

    Each event that the operation has published is compared with the one that it was made of, as long as compaction
    has left that. No event that any such operation has published stands behind a newer one of its key. And of the keys
    whose newest event was there before, and has another schema still, each has a reason.

    Args:
        client_config: the cluster.
        standing: the partition; its end is up to where the operation has brought it.
        transform: the migration.
        operation: id of the operation.
        target: id of the schema.
        compare: compares values.
        every: of how many events one is compared by value; 1: all.
        refused: how many migrated events brokers have refused; so many may have stayed as they were.

    Raises:
        UnavailableError: the cluster or the registry does not answer.
    """
    began = time.monotonic()
    unit, result = standing.unit, Checked(standing.unit)
    comparison = Comparison(result, compare, every)
    for original, copy in _pairs(client_config, standing, operation, result):
        result.events += 1
        if copy.value() == original.value():  # a newer event, as it is: see `Guard`
            result.found += 1
        else:
            comparison.add(original, copy)
    comparison.finish()
    stock = Stock()
    limits, time_now = limits_of(client_config, unit.source), time.time_ns() // 1_000_000
    unmigrated: list[int] = []
    now = replace(standing, end=end_offsets(client_config, unit.source)[unit.partition])
    for chunk, became in transform(outdated(client_config, now, target, stock)):
        for event, what in zip(chunk.events, became, strict=True):
            if isinstance(what, Event) and (offset := _offset(event, unit)) < standing.end:
                if limits.refusal(what, time_now) is None:
                    unmigrated.append(offset)
                else:
                    refused -= 1
    for offset in unmigrated if len(unmigrated) > max(0, refused) else ():
        result.find(f"{unit}@{offset} is the newest event of its key, and was not migrated")
    for finding in stock.overtaken:
        result.find(finding)
    result.seconds = time.monotonic() - began
    return result, stock


def _pairs(
    client_config: ClientConfig, standing: Standing, operation: str, result: Checked
) -> Iterator[tuple[Message, Message]]:
    """Yield the events that were published again, each with the one that it was made of, if that is still there."""
    unit = standing.unit
    with (
        closing(PartitionLog(client_config, unit.source, unit.partition)) as log,
        closing(PartitionLog(client_config, unit.source, unit.partition)) as pages,
    ):
        aside: list[tuple[int, Message]] = []  # such as newer events that came in between: few, and out of order
        in_order = _in_order(_published(log, unit, standing.end, operation), aside, standing.end)
        yield from _joined(pages, in_order, standing.first, standing.end, result)
        aside.sort(key=lambda each: each[0])
        if aside:
            yield from _joined(pages, iter(aside), aside[0][0], aside[-1][0] + 1, result)


def _published(log: PartitionLog, unit: Unit, first: int, operation: str) -> Iterator[tuple[int, Message]]:
    ours, named = f"{unit.name}/".encode(), (OPERATION_HEADER, operation.encode())
    for part in log.read(first):
        for message in part.messages:
            origin = origin_offset(message, ours)
            if origin is not None and headers_of(message)[-2] == named:
                yield origin, message


def _in_order(
    published: Iterator[tuple[int, Message]], aside: list[tuple[int, Message]], end: int
) -> Iterator[tuple[int, Message]]:
    last = -1
    for origin, message in published:
        if last < origin < end:
            last = origin
            yield origin, message
        else:
            aside.append((origin, message))


def _joined(
    pages: PartitionLog, copies: Iterator[tuple[int, Message]], first: int, end: int, result: Checked
) -> Iterator[tuple[Message, Message]]:
    copy = next(copies, None)
    with closing(pages.read(first, end)) as parts:
        for part in parts:
            for message in part.messages:
                while copy is not None and copy[0] < cast(int, message.offset()):
                    result.gone += 1  # compaction has taken the original away
                    copy = next(copies, None)
                if copy is not None and copy[0] == message.offset():
                    yield message, copy[1]
                    copy = next(copies, None)
            if copy is None:
                break
    while copy is not None:
        result.gone += 1
        copy = next(copies, None)


def _offset(event: Event, unit: Unit) -> int:
    return source_offset(event.origin.encode(), unit.name) or 0
