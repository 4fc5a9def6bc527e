"""``redrive security``."""

from __future__ import annotations

from typing import Annotated

import typer

from redrive.cli.output import Json, note, out, show_json, show_table
from redrive.config import Config

app = typer.Typer(help="Who may do what: the least that each role needs.", no_args_is_help=True)

_Role = Annotated[str, typer.Argument(help="One of those that `redrive security roles` lists.")]
_Name = Annotated[
    str,
    typer.Option(
        "--name", help="Which producer, or which consumer group.", show_default="of the gateway: gateway.name"
    ),
]
_Topics = Annotated[
    list[str] | None,
    typer.Option(
        "--topic",
        help="Only these main topics; may be repeated. Of schema-backfill: its source.",
        show_default="all; of the gateway, those of its event types",
    ),
]
_Target = Annotated[
    str,
    typer.Option(
        "--target",
        help="The topic that schema-backfill fills, and may create and delete; of a producer or consumer, the one that "
        "its topic may be switched to.",
    ),
]
_Groups = Annotated[
    list[str] | None,
    typer.Option(
        "--group",
        help="A consumer group that schema-backfill may move; may be repeated; '*' for all.",
        show_default="none",
    ),
]


@app.command()
def roles(json: Json = False) -> None:
    """List the roles."""
    from redrive.security.roles import ROLES

    if json:
        show_json(
            [
                {"role": name, "named": role.named, "fills": role.fills, "does": role.does}
                for name, role in ROLES.items()
            ]
        )
        return
    show_table(("role", "what it is"), ((name, role.does) for name, role in ROLES.items()))


@app.command()
def acls(
    role: _Role,
    *,
    name: _Name = "",
    topic: _Topics = None,
    target: _Target = "",
    group: _Groups = None,
    principal: Annotated[
        str | None, typer.Option(help="Who gets them.", show_default="User: and the name, or else the role")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Add them to the clusters; nothing is taken away.")] = False,
    json: Json = False,
) -> None:
    """Give the ACLs that a role needs, as `kafka-acls` commands, cluster by cluster; or add them."""
    from redrive.security import acls as kafka
    from redrive.security.roles import grants
    from redrive.security.scoping import scopes

    config = Config.load()
    about = scopes(config, role, name, topic or (), target=target, groups=group or ())
    who = principal or f"User:{next((scope.name for scope in about), '') or role}"
    found = {scope.cluster: kafka.acls(who, grants(role, scope)) for scope in about}
    if apply:
        for cluster, wanted in found.items():
            kafka.apply(config.cluster(cluster), wanted)
    if json:
        show_json([{"cluster": cluster, "acls": wanted, "applied": apply} for cluster, wanted in found.items()])
    elif apply:
        for cluster, wanted in found.items():
            out.print(f"{cluster} has the {len(wanted)} ACLs of {who}.", markup=False, highlight=False)
    else:
        for cluster, wanted in found.items():
            for command in kafka.commands(config.clusters[cluster].bootstrap, wanted):
                out.print(command, markup=False, highlight=False, soft_wrap=True)


@app.command()
def iam(
    role: _Role,
    *,
    name: _Name = "",
    topic: _Topics = None,
    target: _Target = "",
    group: _Groups = None,
    account: Annotated[
        str, typer.Option(help="The AWS account of the standby table.", show_default="that of the clusters, else any")
    ] = "",
) -> None:
    """Give the IAM policy that a role needs, as JSON: Amazon MSK, the standby table, CloudWatch."""
    from redrive.security.iam import cluster_arn, policy
    from redrive.security.scoping import scopes

    config = Config.load()
    about = scopes(config, role, name, topic or (), target=target, groups=group or ())
    show_json(policy(config, role, about, account))
    for cluster, given in sorted(config.clusters.items()):
        if not cluster_arn(given):
            note(f"without {cluster}: by the settings it is not on Amazon MSK (clusters.{cluster}.fleet)")
