"""Stops a stack whose owner has gone, however it went: ``python -m deployments.local.guard FOLDER PID CREATED``.

An owner that ends in good order stops its stack and this process itself. This one is for ``kill -9``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from deployments.local.process import Identity, belonging_to, stop
from deployments.local.state import StateFile


def main(folder: Path, owner: Identity) -> None:
    """Wait for the owner's end, then kill what still runs."""
    if process := owner.process():
        process.wait()
    file = StateFile(folder)
    with file.exclusively():
        state = file.load()
        if state is None or state.detached:
            return
        stop(state.processes.values(), patience=0)
        # One that was being started when the owner went is not noted; it may even not be there yet.
        time.sleep(0.5)
        stop(belonging_to(folder), patience=0)
        state.processes = {}
        state.guard = None
        file.save(state)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Identity(int(sys.argv[2]), float(sys.argv[3])))
