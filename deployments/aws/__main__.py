"""Write the CloudFormation templates for the settings; the CDK's command line calls this, too."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from deployments.aws.app import build
from deployments.aws.image import check_image
from redrive.errors import RedriveError


def main() -> int:
    """Synthesise into the folder that the CDK names, else into ``cdk.out``; gives the exit code."""
    try:
        assembly = build(os.environ.get("CDK_OUTDIR", "cdk.out")).synth()
        check_image(Path(assembly.directory))
    except RedriveError as error:
        print(f"redrive: {error}", file=sys.stderr)
        return 2
    print(f"{assembly.directory}: {', '.join(stack.stack_name for stack in assembly.stacks)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
