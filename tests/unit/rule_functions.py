"""Functions that the rules of tests name."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from redrive.deadletters.letter import Letter
from redrive.rules import Reject, Skip


def spoil(value: Any, letter: Letter) -> Any:
    value["inner"]["list"].append(letter.topic)
    return value


def forget(value: Any, letter: Letter) -> None:
    value["note"] = "put right"


def skip(value: Any, letter: Letter) -> Any:
    raise Skip("not needed")


def reject(value: Any, letter: Letter) -> Any:
    raise Reject("not possible")


def fail(value: Any, letter: Letter) -> Any:
    return value["secret"]["nothing"]


def one_argument(value: Any) -> Any:
    return value


def cycle(value: Any, letter: Letter) -> Any:
    value["note"] = value
    return value


def anything(value: Any, letter: Letter) -> Any:
    return object()


def nothing_sensible(value: Any, letter: Letter) -> Any:
    return {"id": {1, 2}, "labels": bytearray(b"x")}


def tombstone(value: Any, letter: Letter) -> Any:
    return None


def die_once(value: Any, letter: Letter) -> Any:
    """Kill the process that judges; not the one that is named in the file, and only as long as there is the file."""
    file = Path(os.environ["SPARED_BY_DIE_ONCE"])
    if file.exists() and file.read_text() != str(os.getpid()):
        file.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return value | {"id": int(value["id"])}
