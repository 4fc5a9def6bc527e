"""``redrive local``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from deployments.local import DATA_VARIABLE
from redrive.cli.output import Json, note, out, show_json, show_table
from redrive.errors import ConfigError

if TYPE_CHECKING:
    from deployments.local.stack import Stack
    from deployments.local.view import Endpoints, NodeStatus

app = typer.Typer(help="The local stack: Kafka, DynamoDB Local, schema registry and Prefect.", no_args_is_help=True)

Data = Annotated[
    Path,
    typer.Option("--data", envvar=DATA_VARIABLE, help="The folder that holds the stack's data and logs."),
]
Nodes = Annotated[
    list[str],
    typer.Argument(metavar="NODE...", help="kafka-1, kafka-2, kafka-3, kafka-CLUSTER-1, dynamodb, registry, prefect."),
]
Clusters = Annotated[
    str,
    typer.Option(
        "--clusters",
        metavar="NAME,…",
        help="Several Kafka clusters by their names in the settings: three brokers for the first, one for each other.",
        show_default="those that its data are of, else local",
    ),
]
DATA = Path(".redrive/local")

STYLES = {"running": "green", "paused": "yellow", "dead": "red", "down": "dim"}


@app.command()
def up(
    *,
    data: Data = DATA,
    ports: Annotated[
        Literal["default", "free"], typer.Option(help="The well-known ports, or any free ones.")
    ] = "default",
    prefect: Annotated[bool, typer.Option(help="With Prefect's server.")] = True,
    secure: Annotated[
        bool, typer.Option("--secure", help="Kafka with TLS, SASL/SCRAM and ACLs; the user is admin.")
    ] = False,
    clusters: Clusters = "",
    json: Json = False,
) -> None:
    """Start what does not run, wait until it serves, and print where. It runs until `redrive local down`."""
    stack = stack_class()(data, ports, prefect=prefect, secure=secure, clusters=names_of(clusters))
    stack.up(detached=True, report=note)
    if json:
        show_json({"endpoints": stack.endpoints, "environment": stack.environment(), "nodes": _rows(stack.status())})
        return
    endpoints = stack.endpoints
    show_table(
        ("what", "where"),
        [
            *kafka_rows(endpoints),
            *([("Kafka's settings", f"environment variables: {' '.join(_login(stack))}")] if secure else []),
            ("DynamoDB", endpoints.dynamodb),
            ("schema registry", endpoints.registry),
            *([("Prefect API", endpoints.prefect_api)] if endpoints.prefect_api else []),
            *([("Prefect UI", endpoints.prefect_ui)] if endpoints.prefect_ui else []),
        ],
    )


@app.command()
def down(
    data: Data = DATA, wipe: Annotated[bool, typer.Option("--wipe", help="Delete the data as well.")] = False
) -> None:
    """Stop every node. The data stay for the next `up`."""
    _attach(data).down(wipe=wipe)
    out.print("Stopped; the data are deleted." if wipe else "Stopped; the data stay.")


@app.command()
def status(data: Data = DATA, json: Json = False) -> None:
    """Show each node: its state, process, port and memory. Exit code 1 unless all of them run."""
    nodes = _attach(data).status()
    if json:
        show_json(_rows(nodes))
    else:
        _show(nodes)
    if any(node.state != "running" for node in nodes):
        raise typer.Exit(1)


@app.command()
def env(data: Data = DATA) -> None:
    """Print the variables that point commands in another terminal at the stack: `eval "$(redrive local env)"`."""
    for name, value in _attach(data).environment().items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@app.command()
def kill(nodes: Nodes, data: Data = DATA) -> None:
    """End nodes by `kill -9`, all at once."""
    _attach(data).kill(*nodes)
    out.print(f"Killed; `redrive local start {' '.join(nodes)}` brings back.")


@app.command()
def start(nodes: Nodes, data: Data = DATA) -> None:
    """Start nodes that do not run, and wait until they serve: brokers only if two of the first three run."""
    stack = _attach(data)
    stack.start(*nodes)
    _show(stack.status())


@app.command("add-broker")
def add_broker(
    data: Data = DATA,
    until: Annotated[
        int | None, typer.Option("--until", min=1, help="Only until there are so many in all; else one.")
    ] = None,
) -> None:
    """Join one more Kafka broker to the (first) cluster. It gets partitions only when someone moves them there."""
    stack = _attach(data)
    new = [stack.add_broker()] if until is None else stack.add_brokers(until)
    for node in new:
        out.print(f"{node} serves.")
    out.print(f"The brokers are {stack.endpoints.bootstrap}.", highlight=False)


@app.command("add-user")
def add_user(name: Annotated[str, typer.Argument(help="Such as a role's.")], data: Data = DATA) -> None:
    """Add a user to a secure stack, or give it a new password; what it may do, `redrive security acls` says."""
    stack = _attach(data)
    if not stack.is_secure:
        raise ConfigError("local", "this stack asks nobody who they are; start one with `redrive local up --secure`")
    stack.add_user(name)
    for cluster in stack.endpoints.clusters:
        for variable, value in stack.security.settings(cluster, name).items():
            out.print(f"{variable}={value}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def load(
    data: Data = DATA,
    seconds: Annotated[float, typer.Option(min=0.1, help="Measure for so long.")] = 1.0,
    json: Json = False,
) -> None:
    """Measure CPU of each running broker (of the first cluster), in percent of all that this machine has."""
    found = _attach(data).load(seconds)
    if json:
        show_json(found)
    else:
        show_table(
            ("broker", "CPU"), [(f"kafka-{id_}", f"{load:.1f} %") for id_, load in found.items()], numbers=("CPU",)
        )


def names_of(clusters: str) -> list[str] | None:
    """Names with commas between; None if there are none."""
    return [name.strip() for name in clusters.split(",")] if clusters else None


def kafka_rows(endpoints: Endpoints) -> list[tuple[str, str]]:
    """For a table of where everything is: its clusters."""
    several = len(endpoints.clusters) > 1
    return [(f"Kafka {name}" if several else "Kafka", where) for name, where in endpoints.clusters.items()]


def stack_class() -> type[Stack]:
    """Give the stack's class; late, as Redrive's other commands need neither Java nor its wheels.

    Raises:
        ConfigError: what the local stack needs is not installed.
    """
    try:
        from deployments.local.stack import Stack
    except ModuleNotFoundError as error:
        raise ConfigError(
            "redrive[local]",
            f"the local stack needs {error.name}: pip install -e '.[local]' in the copy of the repository",
        ) from error
    return Stack


def _login(stack: Stack) -> list[str]:
    clusters = stack.endpoints.clusters
    return [f"{name}={value}" for each in clusters for name, value in stack.security.settings(each).items()]


def _attach(data: Path) -> Stack:
    return stack_class().attach(data)


def _rows(nodes: list[NodeStatus]) -> list[dict[str, object]]:
    return [
        {"node": n.node, "state": n.state, "pid": n.pid, "port": n.port, "memory": n.memory, "log": n.log}
        for n in nodes
    ]


def _show(nodes: list[NodeStatus]) -> None:
    rows = (
        (
            node.node,
            Text(node.state, STYLES[node.state]),
            str(node.pid or "–"),
            str(node.port),
            f"{node.memory >> 20} MB" if node.memory else "–",
            node.log,
        )
        for node in nodes
    )
    show_table(("node", "state", "pid", "port", "memory", "log"), rows, numbers=("pid", "port", "memory"))
