"""``python -m redrive.columnar`` compiles all loops, so that no job has to: for images, and after an installation."""

from __future__ import annotations

import logging
import sys

from redrive.columnar.librdkafka import usable

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sys.exit(not usable())
