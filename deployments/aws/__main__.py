"""Write the CloudFormation templates for the settings; the CDK's command line calls this, too."""

from __future__ import annotations

import os
import sys

from deployments.aws.app import build
from redrive.errors import RedriveError


def main() -> int:
    """Synthesise into the folder that the CDK names, else into ``cdk.out``; gives the exit code."""
    try:
        app = build(os.environ.get("CDK_OUTDIR", "cdk.out"))
    except RedriveError as error:
        print(f"redrive: {error}", file=sys.stderr)
        return 2
    assembly = app.synth()
    print(f"{assembly.directory}: {', '.join(stack.stack_name for stack in assembly.stacks)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
