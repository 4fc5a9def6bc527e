"""``redrive schemas``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from redrive.cli.exits import BAD
from redrive.cli.governance import check, delete, register, writers
from redrive.cli.output import Json, note, out, show_json, show_table
from redrive.config import Config
from redrive.errors import SchemaError, UnavailableError

if TYPE_CHECKING:
    from redrive.migrations.census import Count
    from redrive.schemas import SchemaRegistry

app = typer.Typer(
    help="Schemas: checking and registering them, what a topic's events are written with, and what stands between two.",
    no_args_is_help=True,
)

app.command()(check)
app.command()(register)
app.command()(writers)
app.command()(delete)

_Topic = Annotated[str, typer.Argument(help="The topic, by its name in the settings.")]
_Row = tuple[str, int | None, int, str]


@app.command()
def census(
    topic: _Topic,
    sample: Annotated[
        int | None,
        typer.Option(min=1, max=1_000, help="Look only at so many ranges of 1,000 offsets in each partition."),
    ] = None,
    by_partition: Annotated[bool, typer.Option("--by-partition", help="Each partition by itself.")] = False,
    json: Json = False,
) -> None:
    """Count a topic's events by schema, without decoding them: all that is committed now, or samples of it."""
    from redrive.migrations.census import take_census
    from redrive.schemas import SchemaRegistry

    config = Config.load()
    cluster = config.cluster_of(topic)
    registry = SchemaRegistry(config.registry_client_config())
    try:
        versions = _versions(registry, topic)
    finally:
        registry.close()
    taken = take_census(cluster.client_config(), topic, sample=sample)
    if json:
        partitions = [
            {"partition": one.partition, "start": one.start, "end": one.end, **_told(one.count, versions)}
            for one in taken.partitions
        ]
        total = _told(taken.total, versions)
        show_json(
            {"topic": topic, "sampled": taken.sampled, "seconds": taken.seconds, **total, "partitions": partitions}
        )
        return
    columns, numbers = ("schema id", "version", "events", "share"), ("schema id", "version", "events", "share")
    if by_partition:
        rows = [(one.partition, *row) for one in taken.partitions for row in _rows(one.count, versions)]
        show_table(("partition", *columns), rows, numbers=("partition", *numbers))
    else:
        show_table(columns, _rows(taken.total, versions), numbers=numbers)
    seen = f"{taken.total.events:,} events in {len(taken.partitions)} partitions, {taken.seconds:.1f} s"
    out.print(f"{seen}{', by samples' if taken.sampled else ''}", highlight=False)


def _versions(registry: SchemaRegistry, topic: str) -> dict[int, int]:
    """Return the version of each schema id in the topic's subject: what a census can do without."""
    try:
        return {schema_id: version for version, schema_id in registry.versions(topic).items()}
    except (SchemaError, UnavailableError) as error:
        note(f"without versions: {error}")
        return {}


def _rows(count: Count, versions: dict[int, int]) -> Iterator[_Row]:
    for schema_id, events in sorted(count.ids.items(), key=lambda one: -one[1]):
        yield str(schema_id), versions.get(schema_id), events, _share(events, count)
    for word, events in (("not framed", count.unframed), ("tombstones", count.tombstones)):
        if events:
            yield word, None, events, _share(events, count)


def _share(events: int, count: Count) -> str:
    return f"{events / count.events:.2%}"


def _told(count: Count, versions: dict[int, int]) -> dict[str, Any]:
    schemas = [
        {"id": schema_id, "version": versions.get(schema_id), "events": events, "share": events / count.events}
        for schema_id, events in count.ids.items()
    ]
    return {"events": count.events, "unframed": count.unframed, "tombstones": count.tombstones, "schemas": schemas}


@app.command()
def compatibility(
    topic: _Topic,
    file: Annotated[
        Path | None, typer.Argument(help="The new schema (.avsc).", show_default="the topic's of the settings")
    ] = None,
    json: Json = False,
) -> None:
    """Say what stands between each version of a topic's schema and a new one, and what a migration must supply.

    Exit code 1 if Avro can't resolve one of them to the new schema, so that a rule is needed.
    """
    from redrive.avro.schema import parse
    from redrive.migrations.compatibility import compare
    from redrive.schemas import SchemaRegistry
    from redrive.subjects import read_schema

    config = Config.load()
    text = read_schema(file or config.topic(topic).schema, topic)
    new = parse(text, name=str(file or topic))
    registry = SchemaRegistry(config.registry_client_config())
    try:
        judged = registry.judge(topic, text)
        found = [
            {"version": version, "id": schema_id, "breaks": finding.breaks, **_fields(finding)}
            for version, schema_id in registry.versions(topic).items()
            for finding in compare(registry.schema(schema_id), new)
        ]
    finally:
        registry.close()
    broken = any(one["breaks"] for one in found)
    if json:
        show_json({"topic": topic, "registry": judged._asdict(), "findings": found})
    else:
        if found:
            columns = ("version", "kind", "path", "reason", "supply")
            show_table(columns, ([one[column] for column in columns] for one in found), numbers=("version",))
        says = "may follow" if judged.fits else "may not follow"
        which = "the versions that there are" if judged.transitive else "the latest version"
        out.print(f"The registry's rule is {judged.rule}: the schema {says} {which}.", highlight=False)
        out.print("A migration needs rules." if broken else "Avro resolves every version.", highlight=False)
    if broken:
        raise typer.Exit(BAD)


def _fields(finding: Any) -> dict[str, str]:
    return {name: getattr(finding, name) for name in ("kind", "path", "reason", "supply")}
