"""``redrive operations``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.text import Text

from redrive.cli.exits import BAD
from redrive.cli.ledger import open_ledger
from redrive.cli.output import Json, age, out, show_json, show_table

if TYPE_CHECKING:
    from redrive.ledger import OperationRow

app = typer.Typer(help="The ledger: what was done, by whom, and with what verdict.", no_args_is_help=True)

STYLES = {"done": "green", "proved": "green", "counted": "green", "failed": "red", "running": "cyan"}


@app.command("list")
def list_(
    job: Annotated[str | None, typer.Option(help="Only this job's.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    json: Json = False,
) -> None:
    """Show the latest operations, newest first."""
    with open_ledger() as ledger:
        rows = ledger.operations(limit, job)
    if json:
        show_json([row.as_dict() for row in rows])
    elif rows:
        columns = ("id", "job", "mode", "status", "verdict", "resources", "who", "started", "took")
        show_table(columns, (_row(row) for row in rows))
    else:
        out.print("The ledger has no such operation yet.")


def _row(row: OperationRow) -> tuple[Any, ...]:
    took = (row.ended_at or datetime.now(UTC)) - row.started_at
    return (
        row.id[:8],
        row.job,
        row.mode,
        _coloured(row.status),
        _coloured(row.verdict),
        ", ".join(row.resources),
        row.who,
        f"{age(row.started_at)} ago",
        f"{took.total_seconds():.1f} s",
    )


def _coloured(word: str | None) -> Text:
    return Text(word or "–", STYLES.get(word or "", ""))


@app.command()
def show(
    operation: Annotated[str, typer.Argument(help="Its id, or the first letters of it.")],
    file: Annotated[
        Path | None,
        typer.Option(
            "--reassignment-json",
            metavar="FILE",
            help="Write the moves of its plan, just those, for `kafka-reassign-partitions`.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show all that the ledger has about one operation, with its journal."""
    with open_ledger() as ledger:
        row = ledger.operation(operation)
        entries = ledger.entries(row.id)
    if file is not None:
        _write_moves(row, file)
        return
    journal = [{"at": entry.at, "kind": entry.kind, "body": entry.body} for entry in entries]
    if json:
        show_json(row.as_dict() | {"journal": journal})
        return
    show_table(("of the operation", ""), ((name, _text(value)) for name, value in row.as_dict().items()))
    show_table(("at", "what", "with"), ((_text(e["at"]), e["kind"], _text(e["body"])) for e in journal))


def _write_moves(row: OperationRow, file: Path) -> None:
    from redrive.errors import ConfigError
    from redrive.partitions.layout import reassignment_json
    from redrive.partitions.rebalancing import JOB, moves_of

    if row.job != JOB or not row.plan:
        raise ConfigError(
            "--reassignment-json", f"operation {row.id} has no plan of moves; only runs of {JOB} have one"
        )
    moves = moves_of(row.plan)
    file.write_text(reassignment_json(moves) + "\n", encoding="utf-8")
    out.print(f"{len(moves):,} moves written to {file}.", markup=False, highlight=False)


def _text(value: Any) -> str | None:
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_text(item)}" for key, item in value.items()) or None
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()


@app.command()
def verify(json: Json = False) -> None:
    """Read the whole journal and show where it was tampered with. Exit code 1 if it was."""
    with open_ledger() as ledger:
        findings, head = ledger.verify_chain(), ledger.head()
    if json:
        show_json({"head": head, "findings": findings})
    elif findings:
        columns = ("entry", "operation", "what")
        show_table(columns, ((finding.entry, finding.operation_id, finding.reason) for finding in findings))
    else:
        out.print(f"The journal is whole. Its head is {head}.", highlight=False)
    if findings:
        raise typer.Exit(BAD)
