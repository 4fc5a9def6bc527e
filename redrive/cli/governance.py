"""``redrive schemas check``, ``register``, ``writers`` and ``delete``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from redrive.cli.exits import BAD, UNAVAILABLE
from redrive.cli.ledger import open_ledger
from redrive.cli.output import Json, age, note, out, show_json, show_table
from redrive.config import Config
from redrive.errors import SchemaError, UnavailableError

if TYPE_CHECKING:
    from redrive.governance.checking import SchemaFile
    from redrive.governance.rules import Violation

_Paths = Annotated[list[Path], typer.Argument(metavar="DIR|FILE...", help="Folders of .avsc files, or such files.")]


def check(
    paths: _Paths,
    offline: Annotated[
        bool, typer.Option("--offline", help="Don't ask the registry whether schemas fit earlier versions.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 for advice, too.")] = False,
    json: Json = False,
) -> None:
    """Check schemas, as a step of CI: one line for each finding, as compilers write them, `file:line: …`.

    Exit code 1 if there is an error, 3 if there is none but the registry could not be asked.
    """
    files, asked = _checked(Config.load(), paths, offline=offline)
    found = [(each, violation) for each in files for violation in each.violations]
    errors = sum(violation.severity == "error" for _, violation in found)
    if json:
        findings = [_row(each, violation) for each, violation in found]
        totals = {"files": len(files), "errors": errors, "advice": len(found) - errors}
        show_json(totals | {"compatibility": asked or "checked", "findings": findings})
    else:
        for each, violation in found:
            out.print(_line(each, violation), markup=False, highlight=False, soft_wrap=True)
        counted = f"schemas {len(files)}, errors {errors}, advice {len(found) - errors}"
        out.print(
            f"{counted}; compatibility with the registry was {asked or 'checked'}", highlight=False, soft_wrap=True
        )
    if errors or (strict and found):
        raise typer.Exit(BAD)
    if asked and not offline:
        raise typer.Exit(UNAVAILABLE)


def register(
    paths: _Paths,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be registered.")] = False,
    json: Json = False,
) -> None:
    """Register the schemas that pass `check` under the subjects of their topics; those that are there stay.

    Exit code 1 if one was refused; the others are registered all the same.
    """
    from redrive.governance.registering import register
    from redrive.schemas import SchemaRegistry

    config = Config.load()
    files, asked = _checked(config, paths)
    if asked:
        raise UnavailableError(f"registry {config.registry.url}", asked.partition(": ")[2])
    registry = SchemaRegistry(config.registry_client_config())
    try:
        done = [one for each in files for one in register(each, registry, dry_run=dry_run)]
    finally:
        registry.close()
    if json:
        show_json(done)
    else:
        columns = ("file", "topic", "outcome", "version", "id", "reason")
        rows = (
            (str(one.file), one.topic or None, one.outcome, one.version, _id(one.schema_id), one.reason) for one in done
        )
        show_table(columns, rows, numbers=("version", "id"))
    if any(one.outcome == "refused" for one in done):
        raise typer.Exit(BAD)


def writers(
    topic: Annotated[str, typer.Argument(help="The topic, by its name in the settings.")],
    sample: Annotated[
        int | None,
        typer.Option(min=1, max=1_000, help="Look only at so many ranges of 1,000 offsets in each partition."),
    ] = None,
    json: Json = False,
) -> None:
    """Say who writes a topic with which version of its schema, and since when no more: who wrote last comes first.

    A writer is the source that an event's envelope names: the producer's name.
    """
    from redrive.ledger.letter_queries import time_of
    from redrive.migrations.census import take_census
    from redrive.schemas import SchemaRegistry

    config = Config.load()
    cluster = config.cluster_of(topic)
    registry = SchemaRegistry(config.registry_client_config())
    try:
        versions = {schema_id: version for version, schema_id in registry.versions(topic).items()}
    except (SchemaError, UnavailableError) as error:
        note(f"without versions: {error}")
        versions = {}
    finally:
        registry.close()
    taken = take_census(cluster.client_config(), topic, sample=sample, writers=True)
    latest = max(versions.values(), default=None)
    rows = [(one, versions.get(one.schema_id), time_of(one.newest)) for one in taken.written]
    if json:
        told = [
            {"writer": one.writer, "version": version, "id": one.schema_id, "events": one.events, "newest": newest}
            for one, version, newest in rows
        ]
        show_json({"topic": topic, "sampled": taken.sampled, "latest": latest, "writers": told})
        return
    columns = ("writer", "version", "schema id", "events", "last event")
    shown = (
        (one.writer, version, str(one.schema_id), one.events, f"{age(newest)} ago") for one, version, newest in rows
    )
    show_table(columns, shown, numbers=("version", "schema id", "events", "last event"))
    everybody, behind = {one.writer for one, *_ in rows}, {one.writer for one, version, _ in rows if version != latest}
    counted = f"writers {len(everybody)}, of which {len(behind)} have written with other versions than the latest"
    out.print(f"{counted}{', by samples' if taken.sampled else ''}", highlight=False)


def delete(
    subject: Annotated[str, typer.Argument(help="Such as orders.created-value.")],
    version: Annotated[int, typer.Argument(min=1, help="Its number.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look whether it may go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask; for programs.")] = False,
    json: Json = False,
) -> None:
    """Delete a version of a schema, for good, unless something was written with it: exit code 1, and where.

    Looks at all events of all topics of the settings, at the standby store, and at open dead letters.
    """
    from redrive.governance.deleting import check_deletion
    from redrive.schemas import SchemaRegistry

    config = Config.load()
    registry = SchemaRegistry(config.registry_client_config())
    try:
        with open_ledger() as ledger:
            free = check_deletion(
                config, registry, ledger, subject, version, on_look=lambda where: note(f"looking: {where}")
            )
        if not (dry_run or yes):
            typer.confirm(f"Delete {subject} version {version} (id {free.schema_id}), for good?", abort=True, err=True)
        if not dry_run:
            registry.delete(subject, version)
    finally:
        registry.close()
    if json:
        show_json({"subject": subject, "version": version, "id": free.schema_id, "deleted": not dry_run})
        return
    why = "nothing is written with it"
    if free.kept_by:
        why = f"its id stays readable by {', '.join(f'{other} version {number}' for other, number in free.kept_by)}"
    did = "may be deleted" if dry_run else "is deleted"
    out.print(f"{subject} version {version} (id {free.schema_id}) {did}: {why}.", highlight=False, soft_wrap=True)


def _checked(config: Config, paths: Sequence[Path], *, offline: bool = False) -> tuple[list[SchemaFile], str]:
    """Check files, as far as the registry answers; and say why it was not asked, if so."""
    from redrive.governance.checking import check_file, compatible, schema_files
    from redrive.schemas import SchemaRegistry

    files = [check_file(config, file) for file in schema_files(paths)]
    if offline:
        return files, "not checked: --offline"
    registry = SchemaRegistry(config.registry_client_config())
    try:
        beside = [replace(each, violations=(*each.violations, *compatible(each, registry))) for each in files]
    except UnavailableError as error:
        return files, f"not checked: {error}"
    finally:
        registry.close()
    return beside, ""


def _line(each: SchemaFile, violation: Violation) -> str:
    place = f"{each.file}:{violation.line}" if violation.line else str(each.file)
    about = " ".join(
        filter(None, [violation.topic and f"[{violation.topic}]", violation.path and f"{violation.path}:"])
    )
    return f"{place}: {violation.severity}: {violation.rule}: {about + ' ' if about else ''}{violation.reason}"


def _row(each: SchemaFile, violation: Violation) -> dict[str, Any]:
    names = ("line", "severity", "rule", "path", "topic", "reason")
    return {"file": str(each.file), **{name: getattr(violation, name) for name in names}}


def _id(schema_id: Any) -> str | None:
    return None if schema_id is None else str(schema_id)  # an id is no amount: no commas
