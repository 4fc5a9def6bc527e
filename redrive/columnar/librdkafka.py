"""The C functions that compiled loops call: librdkafka's, as confluent-kafka brings it, and xxHash's.

Signatures and structures are those of ``rdkafka.h`` and ``xxhash.h``, which keep them stable; that an object of
confluent-kafka begins with its ``rd_kafka_t *`` is known of the versions in `KNOWN`.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from confluent_kafka import Consumer, Producer, libversion

from redrive.errors import UnavailableError

log = logging.getLogger(__name__)

KNOWN = ("2.16.",)
"""Releases of confluent-kafka whose objects were looked into (``Handle`` in ``confluent_kafka.h``)."""

VU_SIZE = 72
"""Bytes of an ``rd_kafka_vu_t``: what kind of argument it is, and 64 for the argument."""


class _Handle(ctypes.Structure):
    _fields_ = (("head", ctypes.c_ubyte * object.__basicsize__), ("rk", ctypes.c_void_p))


def handle(client: Consumer | Producer) -> int:
    """Return the ``rd_kafka_t *`` of a client that stays open for as long as it is used.

    Raises:
        UnavailableError: it is closed.
    """
    found = _Handle.from_address(id(client)).rk
    if not found:
        raise UnavailableError("Kafka", "its client is closed")
    return int(found)


def usable() -> bool:
    """Say whether compiled loops can be used here; if not, the log says why.

    Where they are not wanted, ``NUMBA_DISABLE_JIT=1`` in the environment switches them off.
    """
    return _usable() and not _distrusted


def distrust(why: str) -> None:
    """Have this process go on without compiled loops."""
    _distrusted.append(why)
    log.error(
        "compiled loops are not used any more: %s. Compare what was copied once more; if that finds anything, give the "
        "target up (`redrive backfill abandon`) and copy anew, with NUMBA_DISABLE_JIT=1 in the environment",
        why,
    )


_distrusted: list[str] = []


@cache
def _usable() -> bool:
    why = _hindrance()
    if why:
        log.warning("events are read and copied one by one, which is slower: %s", why)
    return not why


def _hindrance() -> str:
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        return "NUMBA_DISABLE_JIT is set"
    version = metadata.version("confluent-kafka")
    if not version.startswith(KNOWN):
        return f"the inside of confluent-kafka {version} is not known"
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != 8 or sys.byteorder != "little":
        return "this is not CPython on a little-endian machine of 64 bits"
    if sys.platform not in {"linux", "darwin"}:
        return f"how C functions are called on {sys.platform} is not known"
    try:
        from redrive.columnar.compiling import compile_all

        compile_all()
    except Exception as error:  # whatever it is, there is another way
        return f"the loops can't be compiled, or what was kept of them (NUMBA_CACHE_DIR) is damaged: {error!r}"
    return ""


@cache
def load(*names: str) -> None:
    """Make functions known to compiled code, which would end the process if it called one that is not there.

    Raises:
        OSError: a library is not where its package has it, is another one than confluent-kafka uses, or lacks one.
    """
    import llvmlite.binding

    for path in (_extension("xxhash._xxhash"), library()):
        llvmlite.binding.load_library_permanently(str(path))
    ours = ctypes.CDLL(str(library()))
    if ours.rd_kafka_version() != libversion()[1]:
        raise OSError(f"{library()} is not the one that confluent-kafka uses")
    for name in names:
        address = llvmlite.binding.address_of_symbol(name)
        if not address:
            raise OSError(f"no library has {name}")
        if name.startswith("rd_kafka_") and address != ctypes.cast(getattr(ours, name), ctypes.c_void_p).value:
            raise OSError(f"there is another librdkafka in this process, whose {name} would be called")


def library() -> Path:
    """Find the librdkafka that confluent-kafka itself has loaded: another copy would not know its clients."""
    package = _extension("confluent_kafka.cimpl").parent
    folders = package.parent / "confluent_kafka.libs", package / ".dylibs"
    found = [path for folder in folders for path in folder.glob("librdkafka*")]
    if len(found) != 1:
        raise OSError(f"{package} has {len(found)} files librdkafka, not one")
    return found[0]


def _extension(module: str) -> Path:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise OSError(f"there is no {module}")
    return Path(spec.origin)
