"""``redrive debts``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from redrive.cli.exits import BAD
from redrive.cli.ledger import open_ledger
from redrive.cli.output import Json, age, note, out, short, show_json, show_table
from redrive.config import Cluster, Config
from redrive.errors import RedriveError
from redrive.person import person

if TYPE_CHECKING:
    from redrive.ledger import DebtRow, Ledger
    from redrive.partitions.settling import Settlement

app = typer.Typer(help="Settings that jobs have changed for their own time.", no_args_is_help=True)


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Those that are settled, too; the latest.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="With --all: at most so many.")] = 50,
    json: Json = False,
) -> None:
    """Show what is owed: settings that are to be again what they were."""
    with open_ledger() as ledger:
        rows = ledger.debts.latest(limit) if every else ledger.debts.owed()
    if json:
        show_json([_document(row) for row in rows])
    elif rows:
        show_table(("id", "cluster", "of", "setting", "before", "set to", "since", "state"), map(_row, rows))
    else:
        out.print("Nothing is owed.")


@app.command()
def settle(
    cluster: Annotated[str | None, typer.Argument(help="Only this one's.", show_default="all")] = None,
    now: Annotated[bool, typer.Option("--now", help="Also what partitions need that are on the move.")] = False,
    json: Json = False,
) -> None:
    """Make settings what they were before a job changed them, unless somebody else has changed them since.

    A throttle that partitions move behind stays, unless --now is given: without it they would copy as fast as they can.
    Exit code 1 if something stays owed, such as that of a broker that is down.
    """
    config = Config.load()
    settled, left, failures = dict[int, str](), dict[int, str](), list[RedriveError]()
    with open_ledger() as ledger:
        owed = ledger.debts.owed(config.cluster(cluster).name if cluster else None)
        for name in sorted({row.cluster for row in owed}):
            try:
                outcome = _settle(ledger, config.cluster(name), now=now)
            except RedriveError as error:  # that cluster's; the others have their own debts
                failures.append(error)
                continue
            settled |= outcome.settled
            left |= outcome.left
    if json:
        show_json({"settled": settled, "owed": left})
    else:
        out.print(f"{len(settled)} settings settled, {len(left)} owed still.", highlight=False)
        for how in sorted(set(settled.values())):
            out.print(f"  {list(settled.values()).count(how)} {how}", markup=False, highlight=False)
    for reason in sorted(set(left.values())):
        note(f"still owed: {reason}")
    for failure in failures[1:]:
        note(str(failure))
    if failures:
        raise failures[0]
    if left:
        raise typer.Exit(BAD)


@app.command("write-off")
def write_off(
    ids: Annotated[list[int], typer.Argument(metavar="ID...", help="Of debts, by `redrive debts list`.")],
    why: Annotated[str, typer.Option(help="Goes into the ledger, for good.")],
) -> None:
    """Give debts up that can't be paid any more, such as those of a broker that is gone for good.

    Nothing is set: if the broker comes back, it has the setting still.
    """
    from redrive.errors import ConfigError
    from redrive.ledger.acting import acting
    from redrive.partitions.settling import resource_to_hold

    if not why.strip():
        raise ConfigError("why", "is empty; say why nobody will ever pay it")
    with open_ledger() as ledger:
        owed = {row.id: row for row in ledger.debts.owed()}
        if unknown := sorted(set(ids) - owed.keys()):
            raise ConfigError("ID", f"{', '.join(map(str, unknown))} is not owed; see `redrive debts list`")
        for cluster in sorted({owed[id_].cluster for id_ in ids}):
            given, resources = {"why": why}, [resource_to_hold(cluster)]
            here = {id_: f"written off: {why}" for id_ in ids if owed[id_].cluster == cluster}
            who = person()
            with acting(ledger, "debts", cluster=cluster, resources=resources, who=who, parameters=given) as operation:
                ledger.claim(resources, operation)
                ledger.debts.settle(operation, here)
                operation.finish("done", counts={"written_off": len(here)})
    out.print(f"{len(set(ids))} settings written off.", highlight=False)


def _settle(ledger: Ledger, cluster: Cluster, *, now: bool) -> Settlement:
    from redrive.ledger.acting import acting
    from redrive.partitions.settling import resource_to_hold, settle_all, settle_idle
    from redrive.partitions.writer import PartitionWriter

    name, resources = cluster.name, [resource_to_hold(cluster.name)]
    with (
        acting(ledger, "debts", cluster=name, resources=resources, who=person(), parameters={}) as operation,
        PartitionWriter(cluster) as writer,
    ):
        ledger.claim(resources, operation)
        # What is owed now: a job that has just ended may have paid its debts itself.
        outcome = (settle_all if now else settle_idle)(writer, ledger.debts, operation)
        counts = {"settled": len(outcome.settled), "owed": len(outcome.left)}
        operation.finish("failed" if outcome.left else "done", "counted", counts)
    return outcome


def _row(row: DebtRow) -> tuple[Any, ...]:
    state = Text("owed", "yellow") if row.settled_at is None else Text(row.how or "settled", "green")
    before, ours = None if row.previous is None else short(row.previous), short(" or ".join(row.ours))
    return row.id, row.cluster, f"{row.kind} {row.name}", row.setting, before, ours, age(row.owed_at), state


def _document(row: DebtRow) -> dict[str, Any]:
    return {column.name: getattr(row, column.name) for column in row.__table__.columns}
