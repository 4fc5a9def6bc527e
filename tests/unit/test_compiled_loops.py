"""Whether compiled loops can be used here, and what happens where they can't."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from numba import njit

import redrive.columnar
from redrive.columnar import compiling, librdkafka, loops, native
from redrive.columnar.librdkafka import KNOWN, library, load, usable


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    librdkafka._usable.cache_clear()
    yield
    librdkafka._usable.cache_clear()
    librdkafka._distrusted.clear()


def why_not(caplog: pytest.LogCaptureFixture) -> str:
    with caplog.at_level(logging.WARNING, librdkafka.__name__):
        assert not usable()
        assert not usable()
    [line] = caplog.messages
    assert line.startswith("events are read and copied one by one, which is slower: ")
    return line.partition(": ")[2]


def test_kept_loops_are_those_of_what_they_are_made_of() -> None:
    digest = hashlib.sha256(Path(native.__file__).read_bytes()).hexdigest()[: len(loops.NATIVE)]
    assert digest == loops.NATIVE, f'native.py has changed: write NATIVE = "{digest}" into redrive/columnar/loops.py'


def test_they_can_be_used_with_the_locked_packages(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, librdkafka.__name__):
        assert usable()
    assert not caplog.messages


@pytest.mark.parametrize("version", ["2.15.0", "2.17.0", "3.0", "2.160.0"])
def test_they_are_not_used_with_a_client_that_is_not_known(
    version: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(librdkafka.metadata, "version", lambda _: version)
    assert why_not(caplog) == f"the inside of confluent-kafka {version} is not known"
    assert not version.startswith(KNOWN)


def test_a_c_function_that_is_missing_is_not_called() -> None:
    load("rd_kafka_produceva", "XXH3_128bits")
    with pytest.raises(OSError, match="no library has no_such_function"):
        load("rd_kafka_produceva", "no_such_function")


def test_they_are_not_used_where_a_c_function_is_missing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: str) -> None:
        raise OSError("no library has rd_kafka_produceva")

    monkeypatch.setattr(librdkafka, "load", fail)
    for name in ("compiling", "loops", "native"):
        monkeypatch.delitem(sys.modules, f"{redrive.columnar.__name__}.{name}")
        monkeypatch.delattr(redrive.columnar, name)
    assert "no library has rd_kafka_produceva" in why_not(caplog)


def test_what_was_kept_of_them_may_be_damaged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise EOFError("Ran out of input")

    monkeypatch.setattr(compiling, "compile_all", fail)
    assert why_not(caplog).endswith("(NUMBA_CACHE_DIR) is damaged: EOFError('Ran out of input')")


def test_they_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert why_not(caplog) == "NUMBA_DISABLE_JIT is set"


def test_once_they_are_distrusted_they_are_not_used_any_more(caplog: pytest.LogCaptureFixture) -> None:
    assert usable()
    librdkafka.distrust("what they read is not what is there")
    assert not usable()
    assert "what they read is not what is there. Compare what was copied once more" in caplog.text


@pytest.mark.parametrize("copies", [0, 2])
def test_the_library_is_the_only_one_that_the_client_brings(
    copies: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = tmp_path / "confluent_kafka" / "cimpl.so"
    monkeypatch.setattr(librdkafka, "_extension", lambda _: module)
    folder = tmp_path / "confluent_kafka.libs"
    folder.mkdir()
    for number in range(copies):
        (folder / f"librdkafka-{number}.so.1").touch()
    with pytest.raises(OSError, match=f"has {copies} files librdkafka, not one"):
        library()


def test_they_are_compiled_where_nothing_can_be_kept() -> None:
    namespace: dict[str, Any] = {}
    exec("def double(number):\n    return 2 * number\n", namespace)  # of what has no file, numba keeps nothing
    with pytest.raises(RuntimeError, match="cannot cache"):
        njit(namespace["double"], cache=True)
    assert loops._compiled(namespace["double"])(21) == 42
