"""An editor in which nobody sits: each time it is opened, it does the next thing that it was told."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

PROGRAM = """\
import json, os, sys
told, shown, file = sys.argv[1:]
steps = json.load(open(told))
with open(file, newline="", encoding="utf-8") as opened:
    text = opened.read()
with open(shown, "a") as log:
    modes = [os.stat(path).st_mode & 0o777 for path in (file, os.path.dirname(file))]
    log.write(json.dumps({"text": text, "file": file, "modes": modes}) + "\\n")
step = steps.pop(0)
with open(told, "w") as left:
    json.dump(steps, left)
if step == "fail":
    sys.exit(1)
for old, new in step:
    assert old in text, (old, text)
    text = text.replace(old, new)
open(file + "~", "w").write(text)  # editors leave such things beside the file
with open(file, "w", encoding="utf-8") as saved:
    saved.write(text)
"""

FAIL = "fail"


class Editor:
    """What `$VISUAL` starts."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._told, self._shown = folder / "told.json", folder / "shown.jsonl"
        program = folder / "editor.py"
        program.write_text(PROGRAM)
        monkeypatch.setenv("VISUAL", shlex.join([sys.executable, str(program), str(self._told), str(self._shown)]))
        monkeypatch.setenv("EDITOR", "false")

    def will(self, *steps: list[tuple[str, str]] | str) -> None:
        """Tell it what to replace by what, for each time that it is opened; or to `FAIL`."""
        self._told.write_text(json.dumps(steps))

    @property
    def shown(self) -> list[dict[str, object]]:
        """What it was opened with, each time: text, file, and the modes of file and folder."""
        return [json.loads(line) for line in self._shown.read_text().splitlines()] if self._shown.exists() else []

    @property
    def texts(self) -> list[str]:
        """The texts that it was opened with."""
        return [str(each["text"]) for each in self.shown]
