"""``redrive topics``. What is slow to import is imported where it is used, here as in the other commands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from redrive.cli.exits import BAD, UNAVAILABLE
from redrive.cli.output import Json, out, show_json, show_table
from redrive.config import Config, Topic
from redrive.errors import RedriveError, UnavailableError

if TYPE_CHECKING:
    from redrive.clusters import TopicState
    from redrive.topics import Change

app = typer.Typer(help="The topics of the platform.", no_args_is_help=True)


@app.command()
def apply(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    add_partitions: Annotated[
        bool, typer.Option("--add-partitions", help="Add partitions, though keys lose their order by it.")
    ] = False,
    json: Json = False,
) -> None:
    """Make the topics what the settings say, and register their schemas. Deletes nothing.

    Exit code 1 if a change failed.
    """
    from redrive.topics import apply_topics

    changes = apply_topics(Config.load(), dry_run=dry_run, add_partitions=add_partitions)
    if json:
        show_json(changes)
    elif changes:
        columns = ("cluster", "kind", "name", "change", "what", "outcome")
        show_table(columns, ((c.cluster, c.kind, c.name, c.action, c.detail, _outcome(c)) for c in changes))
    else:
        out.print("All topics are what the settings say.")
    if any(change.outcome == "failed" for change in changes):
        raise typer.Exit(BAD)


def _outcome(change: Change) -> Text:
    if change.action == "leave":
        return Text("left as it is", "yellow")
    styles = {"done": "green", "failed": "red", "planned": "cyan"}
    told = f"{change.outcome}: {change.reason}" if change.reason else change.outcome
    return Text(told, styles[change.outcome])


_AWAY = "does not answer"
_COLUMNS = ("cluster", "topic", "domain", "partitions", "replicas", "lanes", "schema", "goes to", "state")


@app.command("list")
def list_(json: Json = False) -> None:
    """Show the topics: those of the settings, and what else is on their clusters.

    *goes to*: the topic that what is published by this name goes to, once its producers have been switched.

    Exit code 3 if a cluster does not answer.
    """
    rows = list(_rows(Config.load()))
    if json:
        show_json(rows)
    else:
        show_table(_COLUMNS, (row.values() for row in rows), numbers=("partitions", "replicas", "lanes"))
    if any(row["state"] == _AWAY for row in rows):
        raise typer.Exit(UNAVAILABLE)


def _rows(config: Config) -> Iterator[dict[str, str | int | None]]:
    from redrive.clusters import ClusterAdmin

    for cluster in sorted(config.clusters):
        try:
            present = ClusterAdmin(config.cluster(cluster)).topics()
            goes_to = _goes_to(config, cluster)
        except UnavailableError:
            if len(config.clusters) == 1:
                raise
            yield {**dict.fromkeys(_COLUMNS), "cluster": cluster, "state": _AWAY}
            continue
        wanted = {topic.name: topic for topic in config.topics_of(cluster)}
        for name in sorted(wanted.keys() | present.keys()):
            topic, state = wanted.get(name), present.get(name)
            yield {
                "cluster": cluster,
                "topic": name,
                "domain": topic.domain if topic else None,
                "partitions": state.partitions if state else None,
                "replicas": state.replication if state else None,
                "lanes": topic.lanes if topic else None,
                "schema": topic.schema.name if topic and topic.schema else None,
                "goes to": goes_to.get(name) if goes_to is not None else "not known",
                "state": _state(topic, state),
            }


def _goes_to(config: Config, cluster: str) -> dict[str, str] | None:
    """Return where the names of switched topics lead; None: this user may not see that."""
    from redrive.aliases.alias import read_aliases

    try:
        aliases = read_aliases(config.cluster(cluster).client_config())
    except RedriveError:
        return None
    known = {name: alias.current for name, alias in aliases.good.items() if alias.current != name}
    return known | dict.fromkeys(aliases.odd, "not known")


def _state(topic: Topic | None, state: TopicState | None) -> str:
    if state is None:
        return "missing"
    if state.without_leader:
        return f"{state.without_leader} partitions without a leader"
    if state.out_of_sync:
        return f"{state.out_of_sync} partitions out of sync"
    if topic and (topic.partitions, topic.replication) != (state.partitions, state.replication):
        return "differs from the settings"
    return "good"
