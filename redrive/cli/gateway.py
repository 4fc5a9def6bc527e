"""``redrive gateway``."""

from __future__ import annotations

from typing import Annotated

import typer

from redrive.cli.output import Json, note, show_json
from redrive.config import Config

app = typer.Typer(help="The door for partners: serve it, or make an API key.", invoke_without_command=True)


@app.callback()
def gateway(
    context: typer.Context,
    *,
    host: Annotated[str | None, typer.Option(help="Where to listen; else as the settings say.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Likewise.")] = None,
    admin_host: Annotated[str | None, typer.Option(help="Where to tell metrics; else as the settings say.")] = None,
    admin_port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Likewise; 0: nowhere.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=256, help="How many processes serve.")] = None,
) -> None:
    """Serve partners until told to stop (SIGTERM), which ends what is under way in good order.

    Exit code 3 if the registry can't be reached at the start, or a port is taken.
    """
    if context.invoked_subcommand is not None:
        return
    from redrive.gateway.server import serve

    given = {"host": host, "port": port, "admin_host": admin_host, "admin_port": admin_port, "workers": workers}
    serve(Config.load().door().model_copy(update={name: value for name, value in given.items() if value is not None}))


@app.command()
def key(json: Json = False) -> None:
    """Make an API key: printed once, for the partner; and its hash, for the settings."""
    from redrive.gateway.api_keys import hash_of, new_key

    made = new_key()
    if json:
        show_json({"key": made, "hash": hash_of(made)})
        return
    note("For the partner; it is kept nowhere:")
    print(made)
    note("For the settings, in [gateway.partners.NAME]:")
    print(f'keys = ["{hash_of(made)}"]')
