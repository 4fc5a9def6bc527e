"""``redrive cluster``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.text import Text

from redrive.cli.output import Json, note, out, short, show_json, show_table, size
from redrive.config import Cluster, Config

if TYPE_CHECKING:
    from redrive.health.lags import Committed
    from redrive.partitions.picture import BrokerPicture, Picture
    from redrive.partitions.state import Key

app = typer.Typer(help="The clusters: their brokers and partitions.", no_args_is_help=True)

SHOWN = 10
"""Lines of a table that might have as many as the cluster has partitions; JSON has them all."""
AMBER, BLUE = (190, 120, 0), (0, 95, 175)
"""Backgrounds of what is twice the mean, and of nothing at all."""
COLOURLESS = 0.05
"""A fraction of the mean by which a value may be off it before it is coloured."""


@app.callback()
def _group() -> None:
    """The clusters: their brokers and partitions."""


@app.command()
def show(
    cluster: Annotated[str | None, typer.Argument(help="Its name.", show_default="the only one")] = None,
    measure: Annotated[
        float,
        typer.Option(
            "--measure", min=0, help="Measure what producers write, and consumer groups commit, for so many seconds."
        ),
    ] = 0,
    json: Json = False,
) -> None:
    """Show a cluster: load by broker, what is wrong with partitions, what moves, which throttles are in force.

    On a terminal the load is a heat map: amber is above the mean of all brokers that are up, blue below it.
    """
    from redrive.partitions.picture import Picture
    from redrive.partitions.reader import PartitionReader

    config = Config.load()
    from redrive.partitions.inflow import rates

    known = config.cluster(config.only_cluster(cluster))
    began, before = time.monotonic(), _committed(known) if measure else None
    with PartitionReader(known) as reader:
        picture = Picture.take(reader, measure)
    consumed: Mapping[Key, float] | None = None
    if before is not None and (after := _committed(known)) is not None:
        consumed = rates(before.offsets, after.offsets, time.monotonic() - began)
        if after.unasked:
            note(f"What is consumed lacks {after.unasked:,} groups: there are too many to ask about each.")
    if json:
        show_json(_document(picture, consumed))
    else:
        _show(picture, consumed)


def _committed(cluster: Cluster) -> Committed | None:
    """Give what consumer groups have committed; None, with a word about it, if nobody tells."""
    from redrive.errors import UnavailableError
    from redrive.health.lags import read_committed

    try:
        return read_committed(cluster, 10)
    except UnavailableError as error:
        note(f"What is consumed is not known: {error}")
        return None


@app.command()
def plan(  # noqa: PLR0917 (each is an option)
    cluster: Annotated[str | None, typer.Argument(help="Its name.", show_default="the only one")] = None,
    goal: Annotated[
        Literal["balance", "add_brokers", "drain_brokers", "leaders", "replication_factor"],
        typer.Option(help="What for."),
    ] = "balance",
    broker: Annotated[
        list[int] | None, typer.Option("--broker", help="One that is new, or is drained; may be repeated.")
    ] = None,
    replication: Annotated[int | None, typer.Option(min=1, help="Replicas, for that goal.")] = None,
    excluded_topic: Annotated[
        list[str] | None, typer.Option("--excluded-topic", help="Leave it alone; may be repeated.")
    ] = None,
    excluded_broker: Annotated[
        list[int] | None, typer.Option("--excluded-broker", help="Leave it alone; may be repeated.")
    ] = None,
    band: Annotated[float, typer.Option(min=0.01, max=50, help="How far off a broker's bytes may be, in percent.")] = 5,
    file: Annotated[
        Path | None,
        typer.Option("--reassignment-json", metavar="FILE", help="Write the moves for `kafka-reassign-partitions`."),
    ] = None,
    json: Json = False,
) -> None:
    """Plan moves and show them; changes nothing. `redrive run partition-rebalance` carries such a plan out."""
    from redrive.partitions.cautions import cautions, of_health
    from redrive.partitions.layout import reassignment_json
    from redrive.partitions.picture import Picture
    from redrive.partitions.planner import Goal
    from redrive.partitions.reader import PartitionReader
    from redrive.partitions.rebalancing import plan_of

    config = Config.load()
    with PartitionReader(config.cluster(config.only_cluster(cluster))) as reader:
        picture = Picture.take(reader)
    wanted = Goal(
        goal,
        band=band / 100,
        brokers=frozenset(broker or ()),
        excluded_brokers=frozenset(excluded_broker or ()),
        excluded_topics=frozenset(excluded_topic or ()),
        replication=replication,
    )
    made = plan_of(picture, wanted)
    warnings = cautions(made.moves, picture.min_isr, picture.unsized)
    warnings += of_health(picture.under_min_isr, picture.without_leader) if made.moves else []
    if file is not None:
        file.write_text(reassignment_json(made.moves) + "\n", encoding="utf-8")
    if json:
        moves = [{"topic": m.topic, "partition": m.number, "from": m.before, "to": m.after} for m in made.moves]
        show_json(
            {
                "moves": moves,
                "bytes": made.bytes,
                "least_bytes": made.least_bytes,
                "before": made.before,
                "after": made.after,
                "findings": made.findings,
                "cautions": warnings,
            }
        )
        return
    columns = ("broker", "size", "after", "replicas", "after", "leaders", "after")
    rows = (
        (str(a.broker), size(a.bytes), size(b.bytes), a.replicas, b.replicas, a.leaders, b.leaders)
        for a, b in zip(made.before, made.after, strict=True)
    )
    show_table(columns, rows, numbers=columns)
    moves_shown = [(f"{m.topic}/{m.number}", _ids(m.before), _ids(m.after), size(m.bytes)) for m in made.moves]
    if moves_shown:
        show_table(("partition", "from", "to", "to copy"), _at_most(moves_shown), numbers=("to copy",))
    for finding in (*warnings, *made.findings):
        out.print(f"! {finding}", markup=False, highlight=False)
    out.print(
        f"{len(made.moves):,} moves, {size(made.bytes)} to copy; the least possible is {size(made.least_bytes)}.",
        highlight=False,
    )


def _show(picture: Picture, consumed: Mapping[Key, float] | None) -> None:
    brokers, by_broker = picture.brokers, _by_broker(picture, consumed)
    columns = ("broker", "rack", "state", "replicas", "leaders", "size", "free", "written/s", "consumed/s")
    heat = (
        heated(brokers, [broker.replicas for broker in brokers], lambda value: f"{value:,.0f}"),
        heated(brokers, [broker.leaders for broker in brokers], lambda value: f"{value:,.0f}"),
        heated(brokers, [broker.size for broker in brokers], _size),
        [Text(_size(broker.usable)) for broker in brokers],
        heated(brokers, [broker.inflow for broker in brokers], _size),
        heated(brokers, [by_broker.get(broker.id) for broker in brokers], _events),
    )
    rows = (
        (str(broker.id), broker.rack, Text("up", "green") if broker.up else Text("down", "red"), *cells)
        for broker, *cells in zip(brokers, *heat, strict=True)
    )
    show_table(columns, rows, numbers=("broker", *columns[3:]))
    for broker in picture.brokers:
        if broker.up and broker.unknown:
            out.print(f"Broker {broker.id}: {broker.unknown}", markup=False, highlight=False)
    problems = list(_problems(picture))
    if problems:
        show_table(("partition", "what", "replicas", "leader", "in sync"), _at_most(problems))
    if picture.ongoing:
        moving = [
            (_name(key), _ids(each.adding), _ids(each.removing), _ids(each.target))
            for key, each in picture.ongoing.items()
        ]
        show_table(("moving", "gets", "gives up", "then on"), _at_most(moving))
    if picture.throttles:
        throttles = [(str(each.resource), each.name, short(each.value), each.source) for each in picture.throttles]
        show_table(("throttled", "setting", "value", "source"), _at_most(throttles))
    out.print(
        f"{len(picture.partitions):,} partitions: {len(picture.without_leader):,} without a leader, "
        f"{len(picture.under_min_isr):,} under min ISR, {len(picture.under_replicated):,} under-replicated, "
        f"{len(picture.ongoing):,} moving.",
        highlight=False,
    )


def heated(
    brokers: Sequence[BrokerPicture], values: Sequence[float | None], shown: Callable[[float | None], str]
) -> list[Text]:
    """Give the cells of a column, the further from the mean of the brokers that are up, the stronger their colour."""
    known = [value for broker, value in zip(brokers, values, strict=True) if broker.up and value is not None]
    mean = sum(known) / len(known) if known else 0.0
    return [Text("–" if value is None else shown(value), _colour(value, mean)) for value in values]


def _colour(value: float | None, mean: float) -> str:
    off = (value or 0.0) / mean - 1 if mean else 0.0
    if value is None or abs(off) < COLOURLESS:
        return ""
    strength = min(1.0, abs(off))
    red, green, blue = AMBER if off > 0 else BLUE
    return f"on rgb({round(red * strength)},{round(green * strength)},{round(blue * strength)})"


def _by_broker(picture: Picture, consumed: Mapping[Key, float] | None) -> dict[int, float]:
    """Give events a second that groups have committed, by the broker that leads; empty if they were not measured."""
    if consumed is None:
        return {}
    found = dict.fromkeys((broker.id for broker in picture.brokers), 0.0)
    for key, rate in consumed.items():
        partition = picture.partitions.get(key)
        if partition is not None and partition.leader in found:
            found[partition.leader] += rate
    return found


def _problems(picture: Picture) -> Iterator[tuple[Any, ...]]:
    """Each partition with its worst problem, the worst first."""
    told = set[tuple[str, int]]()
    for what, keys in (
        ("without a leader", picture.without_leader),
        ("under min ISR", picture.under_min_isr),
        ("under-replicated", picture.under_replicated),
    ):
        for key in keys:
            if key not in told:
                told.add(key)
                each = picture.partitions[key]
                leader = "–" if each.leader is None else str(each.leader)
                yield _name(key), what, _ids(each.replicas), leader, _ids(sorted(each.isr))


def _at_most(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    if len(rows) <= SHOWN:
        return rows
    rest = f"… and {len(rows) - SHOWN:,} more"
    return [*rows[:SHOWN], (rest, *[""] * (len(rows[0]) - 1))]


def _document(picture: Picture, consumed: Mapping[Key, float] | None) -> dict[str, Any]:
    by_broker = _by_broker(picture, consumed)
    sizes = {(each.topic, each.number): each.size for each in picture.layout.partitions}
    return {
        "cluster": picture.cluster,
        "brokers": [{**_broker(broker), "consumed_per_second": by_broker.get(broker.id)} for broker in picture.brokers],
        "partitions": [
            {
                "topic": each.topic,
                "partition": each.number,
                "replicas": each.replicas,
                "leader": each.leader,
                "isr": sorted(each.isr),
                "bytes": sizes[key],
                "written_per_second": None if picture.inflow is None else picture.inflow.get(key),
                "consumed_per_second": None if consumed is None else consumed.get(key),
            }
            for key, each in picture.partitions.items()
        ],
        "without_leader": [_name(key) for key in picture.without_leader],
        "under_min_isr": [_name(key) for key in picture.under_min_isr],
        "under_replicated": [_name(key) for key in picture.under_replicated],
        "ongoing": {_name(key): each for key, each in picture.ongoing.items()},
        "throttles": picture.throttles,
    }


def _broker(broker: BrokerPicture) -> dict[str, Any]:
    return {
        "id": broker.id,
        "rack": broker.rack,
        "up": broker.up,
        "replicas": broker.replicas,
        "leaders": broker.leaders,
        "bytes": broker.size,
        "total_bytes": broker.total,
        "usable_bytes": broker.usable,
        "written_per_second": broker.inflow,
        "unknown": broker.unknown,
    }


def _name(key: Key) -> str:
    return f"{key[0]}/{key[1]}"


def _ids(ids: Iterable[int]) -> str:
    return ", ".join(map(str, ids)) or "–"


def _events(count: float | None) -> str:
    return "–" if count is None else f"{count:,.1f} events"


def _size(count: float | None) -> str:
    return "–" if count is None else size(int(count))
