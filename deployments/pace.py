"""``redrive pace``: how fast runs go that are under way."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from redrive.cli.output import out
from redrive.errors import ConfigError

UNITS = {"partition-rebalance": "MB/s per broker", "dlq-correction": "letters/s"}
"""Job → what its pace counts; of the others, events/s."""


def pace(  # noqa: PLR0917 (each is an option)
    job: Annotated[
        Literal["standby-replay", "dlq-correction", "partition-rebalance", "schema-backfill"],
        typer.Argument(help="The job whose runs to steer."),
    ],
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Events a second at most; of moves, MB a second for each broker.")
    ] = None,
    full_speed: Annotated[bool, typer.Option("--full-speed", help="Take the limit away.")] = False,
    pause: Annotated[bool, typer.Option("--pause", help="Hold everything.")] = False,
    go_on: Annotated[bool, typer.Option("--go-on", help="Go on after a pause, at the pace from before.")] = False,
    run: Annotated[str | None, typer.Option("--run", help="Only this run, by its id; else all that work now.")] = None,
) -> None:
    """Change the pace of runs that are under way; they follow within about two seconds.

    It holds for these runs only: the next run begins with the pace that it is started with.
    """
    from deployments.follow import connected
    from tasks.approval import is_asking
    from tasks.pace import Pace, paused, running, set_pace, variable_name
    from tasks.paused import PAUSED, RESUME

    if sum((rate is not None, full_speed, pause, go_on)) != 1:
        raise ConfigError("pace", "give one of --rate, --full-speed, --pause and --go-on")
    if full_speed and job == "partition-rebalance":
        raise ConfigError("pace", "a throttle is not taken off while partitions move; give a high --rate instead")
    with connected() as client:
        names = running(client, job)
        if run is not None:
            names = [name for name in names if name == variable_name(job, run)]
        if not names:
            none = f"no run of {job}{f' with the id {run}' if run else ''} is at work now"
            ids = [str(each.id) for each in paused(client, job) if not is_asking(each) and run in (None, str(each.id))]
            if ids:
                none = f"{none}; {', '.join(ids)} was {PAUSED}, and stops or has stopped. {RESUME}"
            raise ConfigError("pace", none)
        for name in names:
            variable = client.read_variable_by_name(name)
            now = Pace.model_validate(variable.value) if variable else Pace()
            limit = rate if rate is not None else (None if full_speed else now.rate)
            new = Pace(rate=limit, paused=pause)
            took = set_pace(client, name, new)
            told = new.told(UNITS.get(job, "events/s")) if took else "has ended"
            out.print(f"{name.rpartition('_')[2]}: {told}")
