"""The task that sets the platform up: ``python -m deployments.aws.set_up``, in the image, which has no CDK.

Not a script for a shell: those drop variables whose names have a dash, such as the addresses of a cluster ``menu-eu``.
"""

from __future__ import annotations

import subprocess
import sys

COMMANDS = (
    "redrive topics apply",
    "prefect work-pool create redrive --type process --overwrite",
    "redrive deploy",
)
"""Topics and schemas; the work pool, the jobs, the automations. Again, it changes nothing that fits, nor what people
have switched."""


def main() -> int:
    """Run the commands in turn; one that fails is the last, and its exit code is given."""
    for command in COMMANDS:
        print(f"$ {command}", flush=True)
        if code := subprocess.run(command.split()).returncode:
            print(f"redrive: {command} failed ({code}); what comes after it was not done", file=sys.stderr)
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
