"""The task that sets the platform up: ``python -m deployments.aws.set_up``, in the image, which has no CDK.

Topics and schemas; the work pool, the jobs, the automations. Again, it changes nothing that fits, nor what people have
switched: a work pool that is paused stays so.

Not a script for a shell: those drop variables whose names have a dash, such as the addresses of a cluster ``menu-eu``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from deployments.worker import create_pool
from redrive.cli.exits import exit_code
from redrive.errors import RedriveError


def main() -> int:
    """Take the steps in turn; one that fails is the last, and its exit code is given."""
    steps: tuple[tuple[str, Callable[[], int]], ...] = (
        ("redrive topics apply", lambda: _command("redrive", "topics", "apply")),
        ("the work pool", _pool),
        ("redrive deploy", lambda: _command("redrive", "deploy")),
    )
    for name, step in steps:
        print(f"$ {name}", flush=True)
        if code := step():
            print(f"redrive: {name} failed ({code}); what comes after it was not done", file=sys.stderr)
            return code
    return 0


def _command(*words: str) -> int:
    return subprocess.run(words).returncode


def _pool() -> int:
    # Prefect's own `work-pool create --overwrite` would undo what people have set: a pause, limits, a template.
    try:
        create_pool(os.environ["PREFECT_API_URL"])
    except RedriveError as error:
        print(f"redrive: {error}", file=sys.stderr)
        return exit_code(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
