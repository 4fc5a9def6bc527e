"""``redrive run``: the jobs, from the command line."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal

import typer
from rich.text import Text

from deployments.telling import Teller
from redrive.cli.output import Json, note, out, show_json
from redrive.cli.selecting import selecting
from redrive.deadletters.selection import Selection
from redrive.errors import ConfigError
from redrive.person import person

app = typer.Typer(help="Start a job as a Prefect flow run, and follow it.", no_args_is_help=True)

# Each option has the name of the form's field; of a list, which takes it several times, in the singular.
# Options of several jobs, with one meaning.
Follow = Annotated[bool, typer.Option(help="Wait for the verdict, also while it waits for approval.")]
Rate = Annotated[float | None, typer.Option(min=0.001, help="Events a second at most; else full speed.")]
Partitions = Annotated[int, typer.Option(min=1, max=64, help="Partitions at the same time.")]
Verify = Annotated[Literal["full", "counts"], typer.Option(help="What to read back at the end.")]
Protect = Annotated[
    str | None,
    typer.Option(metavar="GROUP[:LAG]", help="Hold while a consumer group is further behind; else by 100,000."),
]
Patience = Annotated[
    float, typer.Option(min=0, max=86_400, help="Seconds to keep trying while a system does not answer.")
]

# Of those that move partitions.
Throttle = Annotated[
    str, typer.Option(metavar="MB|auto", help="Of moves, MB a second for each broker; 0: none; auto: as limits allow.")
]
MaxProduceLatency = Annotated[
    float | None,
    typer.Option(
        min=0.001, metavar="MS", help="Begin no move, and slow them, while 1 of 100 events takes longer to publish."
    ),
]
WatchedGroup = Annotated[
    list[str] | None,
    typer.Option(
        metavar="GROUP:LAG", help="Begin no move, and slow them, while it is further behind; may be repeated."
    ),
]


@app.callback()
def _jobs() -> None:
    """Start a job as a Prefect flow run, and follow it."""


@app.command("standby-replay")
def standby_replay(  # noqa: PLR0917 (each is an option)
    mode: Annotated[Literal["plan", "run"], typer.Option(help="Only show what would be done, or do it.")] = "run",
    topic: Annotated[list[str] | None, typer.Option("--topic", help="Only this topic; may be repeated.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Only topics of this cluster.")] = None,
    rate: Rate = None,
    lanes: Annotated[int, typer.Option(min=1, max=64, help="Lanes at the same time.")] = 4,
    verify: Verify = "full",
    protect: Protect = None,
    settle: Annotated[
        float, typer.Option(min=0, max=600, help="Seconds that events which may be in Kafka already are left alone.")
    ] = 5.0,
    patience: Patience = 120.0,
    follow: Annotated[bool, typer.Option(help="Wait for the verdict.")] = True,
    json: Json = False,
) -> None:
    """Bring back into Kafka what producers stored during an outage.

    Exit code 0: proved, counted, planned, or nothing to replay. 1: failed, paused or refused. 3: Prefect does not
    answer, or no worker takes the run.
    """
    given: dict[str, Any] = {
        "mode": mode, "topics": topic or [], "cluster": cluster, "rate": rate, "lanes": lanes, "verify": verify,
        "protect": _protect(protect), "settle": settle, "patience": patience,
    }  # fmt: skip
    _run("standby-replay", {"replay": given}, follow=follow, json=json)


@app.command("dlq-triage")
def dlq_triage(
    mode: Annotated[Literal["plan", "run"], typer.Option(help="Only say what there is to read, or read it.")] = "run",
    topic: Annotated[
        list[str] | None, typer.Option("--topic", help="Only this dead-letter topic; may be repeated.")
    ] = None,
    cluster: Annotated[str | None, typer.Option(help="Only topics of this cluster.")] = None,
    follow: Annotated[bool, typer.Option(help="Wait for the report.")] = True,
    json: Json = False,
) -> None:
    """Enter new dead letters in the ledger, and report what is open.

    Exit code 0: triaged, or planned. 1: a topic could not be triaged. 3: Prefect does not answer, or no worker takes
    the run.
    """
    given: dict[str, Any] = {"mode": mode, "topics": topic or [], "cluster": cluster}
    _run("dlq-triage", {"triage": given}, follow=follow, json=json)


@app.command("dlq-correction")
@selecting
def dlq_correction(  # noqa: PLR0917 (each is an option)
    selection: Selection,
    mode: Annotated[
        Literal["plan", "run"], typer.Option(help="Only show what would become of each, or do it.")
    ] = "plan",
    rules: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="The rules, relative to the settings' folder; else events go on as they are."
        ),
    ] = None,
    order: Annotated[
        Literal["hold", "publish", "skip"],
        typer.Option(help="If a newer event of a letter's key has passed: leave it open, publish it, or give it up."),
    ] = "hold",
    rate: Annotated[float | None, typer.Option(min=0.001, help="Letters a second at most; else full speed.")] = None,
    partitions: Partitions = 4,
    samples: Annotated[int, typer.Option(min=0, max=50, help="Letters to show before and after, a rule.")] = 3,
    verify: Verify = "full",
    protect: Protect = None,
    patience: Patience = 120.0,
    follow: Follow = True,
    json: Json = False,
) -> None:
    """Put dead letters right by rules, and publish them again; all open ones, or those that are selected.

    Exit code 0: proved, counted, planned, or nothing to correct. 1: failed, paused or refused. 3: Prefect does not
    answer, or no worker takes the run.
    """
    given: dict[str, Any] = {
        "mode": mode, "selection": selection.model_dump(mode="json"), "rules": rules, "order": order, "rate": rate,
        "partitions": partitions, "samples": samples, "verify": verify, "protect": _protect(protect),
        "patience": patience,
    }  # fmt: skip
    _run("dlq-correction", {"correction": given}, follow=follow, json=json)


@app.command("partition-rebalance")
def partition_rebalance(  # noqa: PLR0917 (each is an option)
    mode: Annotated[Literal["plan", "run"], typer.Option(help="Only show what would move, or do it.")] = "plan",
    cluster: Annotated[str | None, typer.Option(help="By its name in the settings; else the only one.")] = None,
    goal: Annotated[
        Literal["balance", "add_brokers", "drain_brokers", "leaders", "replication_factor", "go_on", "roll_back"],
        typer.Option(help="What for; go_on and roll_back: with what the last run has left or done."),
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
    throttle: Throttle = "50",
    max_produce_latency: MaxProduceLatency = None,
    watched_group: WatchedGroup = None,
    moves_per_broker: Annotated[int, typer.Option(min=1, max=1_000, help="Of one broker at the same time.")] = 5,
    moves_at_once: Annotated[int, typer.Option(min=1, max=10_000, help="In the whole cluster at the same time.")] = 100,
    patience: Annotated[
        float, typer.Option(min=1, max=86_400, help="Seconds to wait while nothing moves, before it stops.")
    ] = 600,
    on_failure: Annotated[
        Literal["stop", "roll_back"], typer.Option(help="If it comes to no good end: stop there, or take all back.")
    ] = "stop",
    follow: Follow = True,
    json: Json = False,
) -> None:
    """Move partitions to where they should be, while the cluster is in use.

    Exit code 0: proved, counted, planned, or nothing to move. 1: failed, paused, rolled back or refused. 3: Prefect
    does not answer, or no worker takes the run.
    """
    given: dict[str, Any] = {
        "mode": mode, "cluster": cluster, "goal": goal, "brokers": broker or [], "replication": replication,
        "excluded_topics": excluded_topic or [], "excluded_brokers": excluded_broker or [], "band": band,
        "moves_per_broker": moves_per_broker, "moves_at_once": moves_at_once, "patience": patience,
        "on_failure": on_failure, **_sparing(throttle, max_produce_latency, watched_group),
    }  # fmt: skip
    _run("partition-rebalance", {"rebalance": given}, follow=follow, json=json)


@app.command("schema-backfill")
def schema_backfill(  # noqa: PLR0917 (each is an option)
    source: Annotated[str, typer.Argument(help="The topic whose events are copied.")],
    target: Annotated[
        str,
        typer.Argument(help="The topic that they go to; the settings have it, with its schema. in_place: the source."),
    ],
    mode: Annotated[Literal["plan", "run"], typer.Option(help="Only try the rules on events, or do it.")] = "plan",
    goal: Annotated[
        Literal["copy", "cut_over", "switch_producers", "feed_back", "revert", "switch_back", "in_place"],
        typer.Option(
            help="Fill the target; move consumer groups there, too, or the SDK's producers; feed the source from it; "
            "move groups back; take producers back; or publish the newest events of a compacted topic's keys again."
        ),
    ] = "copy",
    rules: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="The rules, relative to the settings' folder; else what Avro resolves."),
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", help="A consumer group to move; may be repeated; else all.")
    ] = None,
    may_lag: Annotated[
        list[str] | None,
        typer.Option(
            "--may-lag",
            metavar="GROUP",
            help="A consumer group that a switch of producers does not wait for, though it may then handle events "
            "twice; may be repeated.",
        ),
    ] = None,
    sample: Annotated[int, typer.Option(min=0, help="Events of each partition to try; 0: all.")] = 2_000,
    follow_for: Annotated[float, typer.Option(min=0, metavar="MINUTES", help="Copy what comes, for so long.")] = 0.0,
    rate: Rate = None,
    partitions: Partitions = 4,
    most_parked: Annotated[int, typer.Option(min=0, help="At more events that can't be migrated, stop.")] = 0,
    verify: Annotated[Literal["full", "sample", "new"], typer.Option(help="What to compare at the end.")] = "full",
    protect: Protect = None,
    patience: Patience = 120.0,
    follow: Follow = True,
    json: Json = False,
) -> None:
    """Bring all events of a topic to another schema, into another topic, and its consumers with them.

    Exit code 0: proved, counted, planned or reverted. 1: failed, paused or refused. 3: Prefect does not answer, or no
    worker takes the run.
    """
    given: dict[str, Any] = {
        "mode": mode, "goal": goal, "source": source, "target": target, "rules": rules, "groups": group or [],
        "may_lag": may_lag or [], "sample": sample, "follow_for": follow_for, "rate": rate, "partitions": partitions,
        "most_parked": most_parked, "verify": verify, "patience": patience,
        "protect": _protect(protect),
    }  # fmt: skip
    _run("schema-backfill", {"backfill": given}, follow=follow, json=json)


def _protect(text: str | None) -> dict[str, Any] | None:
    """Read ``GROUP[:LAG]``, of which the group's id may have colons, too."""
    if text is None:
        return None
    group, _, lag = text.rpartition(":")
    return {"group": group, "max_lag": int(lag)} if group and lag.isdigit() else {"group": text}


@app.command("broker-scaling")
def broker_scaling(  # noqa: PLR0917 (each is an option)
    mode: Annotated[Literal["plan", "run"], typer.Option(help="Only show what would be done, or do it.")] = "plan",
    cluster: Annotated[
        str | None, typer.Option(help="By its name in the settings; else each that has a fleet there.")
    ] = None,
    threshold: Annotated[float, typer.Option(min=0.1, max=100, help="CPU that is high, in percent.")] = 60,
    window: Annotated[float, typer.Option(min=1, max=86_400, help="For how many seconds it has to be.")] = 600,
    step: Annotated[int, typer.Option(min=1, max=60, help="Brokers to add at a time.")] = 1,
    most: Annotated[int, typer.Option(min=1, max=1_000, help="Brokers that there may be, in all.")] = 12,
    cool_down: Annotated[float, typer.Option(min=0, help="Seconds after a scaling without another one.")] = 3_600,
    patience: Annotated[float, typer.Option(min=1, help="Seconds to wait for brokers that were asked for.")] = 7_200,
    throttle: Throttle = "50",
    max_produce_latency: MaxProduceLatency = None,
    watched_group: WatchedGroup = None,
    follow: Follow = True,
    json: Json = False,
) -> None:
    """Add brokers if CPU of a cluster stays high, and have partitions moved to them.

    Exit code 0: proved, counted, planned, or nothing to add; or a run was started for each of several clusters. 1:
    failed, paused or refused. 3: Prefect does not answer, or no worker takes the run.
    """
    given: dict[str, Any] = {
        "mode": mode, "cluster": cluster, "threshold": threshold, "window": window, "step": step, "most": most,
        "cool_down": cool_down, "patience": patience, **_sparing(throttle, max_produce_latency, watched_group),
    }  # fmt: skip
    _run("broker-scaling", {"scale": given}, follow=follow, json=json)


def _run(job: str, parameters: dict[str, Any], *, follow: bool, json: bool) -> None:
    from deployments import follow as following

    with following.connected() as client:
        run = following.start(client, job, parameters, person())
        url = following.run_url(run.id)
        if not follow:
            if json:
                show_json({"operation": str(run.id), "url": url})
            else:
                out.print(f"{run.id}\n{url}")
            return
        note(f"{job} {run.id}\n{url}")
        try:
            end = following.follow(client, run.id, Teller(str(run.id), url))
        except KeyboardInterrupt:
            note(f"\nThe run goes on without you. To end it: prefect flow-run cancel {run.id}")
            raise typer.Exit(130) from None
    if json:
        facts = {name: _value(value) for name, value in end.facts.items()}
        show_json({"operation": str(run.id), "url": url, "ended": end.word, "message": end.message, **facts})
    else:
        out.print(Text(end.message or end.word, style="bold green" if end.good else "bold red"))
    if not end.good:
        raise typer.Exit(1)


def _sparing(throttle: str, max_produce_latency: float | None, watched_group: list[str] | None) -> dict[str, Any]:
    groups = [_watched(each) for each in watched_group or []]
    return {"throttle": _throttle(throttle), "max_produce_latency": max_produce_latency, "watched_groups": groups}


def _throttle(given: str) -> float | str | None:
    if given == "auto":
        return given
    with suppress(ValueError):
        if 0 <= (rate := float(given)) < float("inf"):
            return rate or None
    raise ConfigError("throttle", f"{given!r} is neither a number of MB a second nor auto")


def _watched(given: str) -> dict[str, Any]:
    group, _, lag = given.rpartition(":")
    if not group or not lag.isdecimal():
        raise ConfigError("watched_group", f"{given!r} is not GROUP:LAG, such as billing:100000")
    return {"group": group, "max_lag": int(lag)}


def _value(text: str) -> Any:
    """Give a fact as what it is: a number, nothing, or text."""
    if not text:
        return None
    return int(text) if text.isdecimal() else text
