"""``redrive health``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from redrive.cli.exits import BAD, UNAVAILABLE
from redrive.cli.output import Json, age, out, show_json, show_table, size
from redrive.config import Config

if TYPE_CHECKING:
    from redrive.health.judging import Health

STYLES = {"well": "bold green", "unwell": "bold yellow", "unavailable": "bold red"}
SHOWN = 5


def health(
    cluster: Annotated[list[str] | None, typer.Argument(help="Only these.", show_default="all")] = None,
    json: Json = False,
) -> None:
    """Say how each cluster is, what is wrong with it, and what to do about that; reads only.

    Exit code 0: all are well. 1: one is unwell. 3: one is unavailable: events of its topics can't be published.
    """
    from redrive.health.judging import judge
    from redrive.health.looking import look

    config = Config.load()
    names = [config.cluster(name).name for name in cluster or sorted(config.clusters)]
    found = [judge(facts) for facts in look(config, names)]
    if json:
        show_json([{"cluster": each.facts.cluster, "verdict": each.verdict, "reasons": each.reasons,
                    "facts": _document(each)} for each in found])  # fmt: skip
    else:
        for each in found:
            _show(each)
    verdicts = {each.verdict for each in found}
    if "unavailable" in verdicts:
        raise typer.Exit(UNAVAILABLE)
    if "unwell" in verdicts:
        raise typer.Exit(BAD)


def _show(health: Health) -> None:
    facts = health.facts
    out.print(Text(f"{facts.cluster} is {health.verdict}", STYLES[health.verdict]), Text(f"({facts.seconds:.1f} s)"))
    for reason in health.reasons:
        out.print(f"  ! {reason.what}", markup=False, highlight=False)
        out.print(f"    → {reason.way_out}", markup=False, highlight=False)
    show_table(("what", "is"), _rows(health))


def _rows(health: Health) -> list[tuple[str, str]]:
    from redrive.health.facts import Unknown

    facts, rows = health.facts, list[tuple[str, str]]()
    if not isinstance(facts.state, Unknown):
        state = facts.state
        up = len(state.brokers) - len(state.down)
        controller = "" if state.controller is None else f"; controller is {state.controller}"
        rows.append(("brokers", f"{up} of {len(state.brokers)} up{controller}"))
        rows.append((
            "partitions",
            f"{state.partitions:,}: {len(state.without_leader):,} without a leader, {len(state.under_min_isr):,} under "
            f"min ISR, {len(state.under_replicated):,} under-replicated, {len(state.moving):,} moving",
        ))  # fmt: skip
    if not isinstance(facts.disks, Unknown):
        free = [f"{id_}: {size(each.usable)}" for id_, each in facts.disks.log_dirs.items() if each.usable is not None]
        rows.append(("free on broker", ", ".join(free)))
        if facts.disks.throttles:
            rows.append(("throttles", f"{len(facts.disks.throttles):,} settings"))
    if isinstance(facts.lags, tuple) and facts.lags:
        behind = [f"{lag.group}: {lag.events:,}" for lag in facts.lags[:SHOWN]]
        rows.append(("events behind", ", ".join(behind) + (", …" if len(facts.lags) > SHOWN else "")))
    if facts.unasked_groups:
        rows.append(("not asked about", f"{facts.unasked_groups:,} more groups, of which one may be further behind"))
    if not isinstance(facts.standby, Unknown):
        standby = facts.standby
        since = f", the oldest since {age(standby.oldest)}" if standby.oldest else ""
        rows.append(
            (
                "standby store",
                f"{'' if standby.is_whole else 'at least '}{standby.events:,} events in {standby.diverted:,} of "
                f"{standby.lanes:,} lanes{since}",
            )
        )
    if isinstance(facts.stayed, tuple) and (stayed := [each for each in facts.stayed if each.events]):
        rows.append(("left behind", ", ".join(f"{each.topic}: {each.events:,} events" for each in stayed[:SHOWN])))
    if not isinstance(facts.books, Unknown):
        books = facts.books
        letters = ", ".join(f"{reason}: {count:,}" for reason, count in list(books.letters.items())[:SHOWN])
        rows.append(("open dead letters", letters or "none"))
        for fate, count in books.waiting.items():  # no run takes them, and nothing else reminds of them
            rows.append(
                (f"{fate} dead letters", f"{count:,}: `redrive dlq list --cluster {facts.cluster} --fate {fate}`")
            )
        runs = ", ".join(f"{run.job}: {run.verdict or run.status}" for run in books.runs)
        rows.append(("last runs", runs or "none within a day"))
        if books.holds:
            rows.append(("held", ", ".join(f"{hold.resource} by {hold.job}" for hold in books.holds[:SHOWN])))
        if books.debts:
            rows.append(("debts", f"{sum(books.debts.values()):,} settings"))
    return rows


def _document(health: Health) -> dict[str, Any]:
    """Give the facts as JSON has them: pairs as names, and sizes by broker instead of by replica."""
    from redrive.health.facts import Unknown

    facts = health.facts
    document: dict[str, Any] = {"at": facts.at, "seconds": round(facts.seconds, 3)}
    state, disks = facts.state, facts.disks
    if isinstance(state, Unknown):
        document["state"] = state
    else:
        keys = ("without_leader", "under_min_isr", "under_replicated", "moving")
        document["state"] = {
            "brokers": state.brokers,
            "controller": state.controller,
            "partitions": state.partitions,
            "leaders": state.leaders,
            **{name: [f"{topic}/{number}" for topic, number in getattr(state, name)] for name in keys},
        }
    document["disks"] = disks if isinstance(disks, Unknown) else {
        "brokers": {
            id_: {"bytes": sum(each.sizes.values()), "usable": each.usable, "total": each.total,
                  "unknown": each.unknown}
            for id_, each in disks.log_dirs.items()
        },
        "throttles": disks.throttles,
    }  # fmt: skip
    # How far it was counted is for the next look only, and an entry for each producer and lane.
    standby = facts.standby if isinstance(facts.standby, Unknown) else replace(facts.standby, counted={})
    document |= {"lags": facts.lags, "standby": standby, "books": facts.books, "stayed": facts.stayed}
    return document | {"odd_aliases": facts.odd_aliases, "unasked_groups": facts.unasked_groups}
