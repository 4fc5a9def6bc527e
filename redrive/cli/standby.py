"""``redrive standby``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from redrive.cli.output import Json, age, out, show_json, show_table, size
from redrive.config import Config

if TYPE_CHECKING:
    from redrive.standby.survey import LaneBacklog

app = typer.Typer(help="The standby store: what waits for its cluster.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The standby store: what waits for its cluster."""


@app.command()
def status(
    topic: Annotated[list[str] | None, typer.Argument(help="Only these topics.", show_default="all")] = None,
    every: Annotated[bool, typer.Option("--all", help="Show lanes that nothing waits in, too.")] = False,
    json: Json = False,
) -> None:
    """Show the lanes: which are diverted, and how much waits in them since when."""
    from redrive.standby.dynamo import DynamoStore
    from redrive.standby.survey import survey

    config = Config.load()
    for name in topic or []:
        config.topic(name)
    store = DynamoStore(config.standby.table, config.standby.region, config.standby.endpoint)
    lanes = [lane for cluster in sorted(config.clusters) for lane in survey(store, cluster, topic)]
    if json:
        show_json([_row(lane) for lane in lanes])
        return
    waiting = [lane for lane in lanes if every or not lane.is_open]
    if waiting:
        columns = ("cluster", "topic", "lane", "state", "events", "in doubt", "size", "slots", "oldest")
        rows = (
            (
                backlog.lane.cluster,
                backlog.lane.topic,
                str(backlog.lane.number),
                backlog.state,
                backlog.events,
                backlog.doubtful,
                size(backlog.bytes),
                backlog.slots,
                age(_oldest(backlog)),
            )
            for backlog in waiting
        )
        show_table(columns, rows, numbers=("lane", "events", "in doubt", "size", "slots", "oldest"))
    events, diverted = sum(lane.events for lane in lanes), sum(not lane.is_open for lane in lanes)
    stored = size(sum(lane.bytes for lane in lanes))
    out.print(f"{events:,} events ({stored}) wait in {diverted} of {len(lanes)} lanes.", highlight=False)


def _row(backlog: LaneBacklog) -> dict[str, str | int | datetime | None]:
    return {
        "cluster": backlog.lane.cluster,
        "topic": backlog.lane.topic,
        "lane": backlog.lane.number,
        "state": backlog.state,
        "events": backlog.events,
        "doubtful": backlog.doubtful,
        "bytes": backlog.bytes,
        "slots": backlog.slots,
        "streams": backlog.streams,
        "oldest": _oldest(backlog),
    }


def _oldest(backlog: LaneBacklog) -> datetime | None:
    return datetime.fromtimestamp(backlog.oldest / 1000, UTC) if backlog.oldest is not None else None
