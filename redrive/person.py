"""Who works here: the person that operations, decisions and answers are entered under."""

from __future__ import annotations

import getpass
import os


def person() -> str:
    """Return the name of the user; in a container whose user has none, the number."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # Python before 3.13 does not say which
        return f"uid {os.getuid()}"
