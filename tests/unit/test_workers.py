"""Batches that are worked at in other processes: in order, whole errors, and no process that outlives its parent."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ctypes import c_int, c_size_t, c_void_p
from pathlib import Path

import pytest

from redrive.errors import StoppedError, UnavailableError, UnknownSchemaError
from redrive.pump.workers import Workers

HOLE = 60_000


def shout(spec: bytes, batch: bytes) -> bytes:
    if batch == b"slow":
        time.sleep(0.2)
    return spec + batch.upper()


def where(_spec: bytes, _batch: bytes) -> bytes:
    return b"%d" % os.getpid()


def fail(_spec: bytes, batch: bytes) -> bytes:
    raise UnknownSchemaError(len(batch), "http://registry")


def die(_spec: bytes, batch: bytes) -> bytes:
    if batch == b"die":
        os.kill(os.getpid(), signal.SIGKILL)
    return batch


def leave_holes(size: int) -> None:
    """Free so many bytes between others that are not freed, as a client of Kafka does when it is closed."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = c_void_p, [c_size_t], [c_void_p]
    libc.memset.argtypes = [c_void_p, c_int, c_size_t]
    freed = []
    for _ in range(size // HOLE):
        freed.append(libc.malloc(HOLE))
        libc.memset(freed[-1], 1, HOLE)
        libc.malloc(100)
    for block in freed:
        libc.free(block)


def memory() -> int:
    """Say how many bytes of memory this process takes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def same(item: bytes) -> bytes:
    return item


@pytest.mark.parametrize("processes", [0, 2])
def test_results_come_in_the_order_of_the_batches(processes: int):
    items = [b"slow", b"a", b"b", b"slow", b"c"] * 3
    with Workers(processes) as workers:
        assert list(workers.map(shout, b">", items, same)) == [(item, b">" + item.upper()) for item in items]


def test_the_work_is_done_by_other_processes():
    with Workers(2) as workers:
        assert b"%d" % os.getpid() not in {result for _, result in workers.map(where, b"", [b""] * 10, same)}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries see to it by themselves, or can't")
def test_what_a_call_has_freed_its_process_does_not_keep():
    with Workers(1) as workers:
        before = workers.call(memory)
        workers.call(leave_holes, 100 << 20)
        assert workers.call(memory) < before + (20 << 20)


def test_an_error_arrives_as_it_was_raised():
    with Workers(1) as workers, pytest.raises(UnknownSchemaError, match="schema id 3 is not in") as caught:
        list(workers.map(fail, b"", [b"abc"], same))
    assert (caught.value.schema_id, caught.value.registry) == (3, "http://registry")


def test_a_process_that_dies_is_replaced_when_it_is_needed_again():
    with Workers(1) as workers:
        with pytest.raises(UnavailableError, match="a worker process is unavailable: it died"):
            list(workers.map(die, b"", [b"die"], same))
        assert list(workers.map(die, b"", [b"live"], same)) == [(b"live", b"live")]


def test_who_hears_late_of_a_death_takes_no_process_from_others():
    with Workers(1) as workers:
        late = workers.map(die, b"", [b"a", b"die", b"b", b"c"], same)
        assert next(late) == (b"a", b"a")
        with pytest.raises(UnavailableError):
            list(workers.map(die, b"", [b"die"], same))
        [(_, before)] = workers.map(where, b"", [b"?"], same)
        with pytest.raises(UnavailableError):
            list(late)
        assert list(workers.map(where, b"", [b"?"], same)) == [(b"?", before)]


def test_a_result_is_not_kept_back_while_there_is_nothing_else_to_do():
    def items() -> Iterator[bytes]:
        yield b"first"
        while not came:
            time.sleep(0.05)
            yield b""

    came: list[bytes] = []
    with Workers(1) as workers:
        for item, _ in workers.map(shout, b"", items(), same):
            came.append(item)
    assert came[0] == b"first"


def test_what_needs_no_work_keeps_its_place_and_starts_no_process():
    with Workers(1) as workers:
        assert list(workers.map(where, b"", ["a", "b"], lambda _: b"")) == [("a", b""), ("b", b"")]
        assert workers._executor is None
        came = list(workers.map(shout, b"", [b"a", b"", b"b"], same))
    assert came == [(b"a", b"A"), (b"", b""), (b"b", b"B")]


PARENT = """
import sys, time
from redrive.pump.workers import Workers
from tests.unit.test_workers import where, same
workers = Workers(1)
[(_, pid)] = workers.map(where, b"", [b"?"], same)
print(int(pid), flush=True)
time.sleep(60)
"""


def test_no_process_outlives_a_parent_that_was_killed():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while alive(child):
        assert time.monotonic() < deadline, "it is still there"
        time.sleep(0.1)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def note(spec: bytes, batch: bytes) -> bytes:
    (Path(spec.decode()) / str(os.getpid())).touch()
    return batch


def test_processes_can_be_warmed_up_before_there_is_work(tmp_path: Path):
    with Workers(1) as workers:
        workers.warm_up(note, bytes(tmp_path), b"")
        deadline = time.monotonic() + 30
        while not (warm := {file.name for file in tmp_path.iterdir()}):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        [(_, pid)] = workers.map(where, b"", [b"?"], same)
    assert warm == {pid.decode()}


def test_without_processes_there_is_nothing_to_warm_up(tmp_path: Path):
    Workers(0).warm_up(note, bytes(tmp_path), b"")
    assert list(tmp_path.iterdir()) == []


def process_of(name: str) -> tuple[str, int]:
    return name, os.getpid()


def test_a_call_is_done_by_another_process_and_gives_what_it_returns():
    with Workers(1) as workers:
        name, process = workers.call(process_of, "a partition")
    assert name == "a partition"
    assert process != os.getpid()


def test_a_call_without_processes_is_done_here():
    assert Workers(0).call(process_of, "a partition") == ("a partition", os.getpid())


def test_an_error_of_a_call_arrives_and_a_process_that_died_can_be_called_again():
    with Workers(1) as workers:
        with pytest.raises(UnknownSchemaError, match="schema id 3 is not in"):
            workers.call(fail, b"", b"abc")
        with pytest.raises(UnavailableError, match="a worker process"):
            workers.call(die, b"", b"die")
        assert workers.call(die, b"", b"lives") == b"lives"


def test_who_calls_when_the_processes_were_given_up_starts_no_others():
    with Workers(1) as workers:
        pass
    with pytest.raises(StoppedError):
        workers.call(process_of, "a partition")


def go_on_for_ever(spec: bytes, _batch: bytes) -> bytes:
    note(spec, b"")
    while True:
        time.sleep(1)


@pytest.mark.parametrize(
    "ask",
    [
        lambda workers, spec: workers.call(go_on_for_ever, spec, b""),
        lambda workers, spec: list(workers.map(go_on_for_ever, spec, [b"a batch"], same)),
    ],
    ids=["call", "map"],
)
def test_what_is_under_way_or_waits_when_the_processes_are_given_up_is_stopped(
    tmp_path: Path, ask: Callable[[Workers, bytes], object]
):
    with ThreadPoolExecutor(2) as threads:
        with Workers(1) as workers:
            asked = [threads.submit(ask, workers, bytes(tmp_path)) for _ in range(2)]
            deadline = time.monotonic() + 120
            while not list(tmp_path.iterdir()):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        for each in asked:
            assert isinstance(each.exception(120), StoppedError)


@pytest.mark.parametrize("processes", [0, 2])
def test_several_calls_are_done_side_by_side_and_return_in_their_order(processes: int) -> None:
    with Workers(processes) as workers:
        assert workers.call_each(shout, [(b">", b"slow"), (b">", b"a"), (b">", b"b")]) == [b">SLOW", b">A", b">B"]


def test_of_several_calls_one_that_fails_is_heard_of_and_the_processes_stay() -> None:
    with Workers(1) as workers:
        with pytest.raises(UnknownSchemaError):
            workers.call_each(fail, [(b"", b"abc"), (b"", b"ab")])
        assert workers.call(shout, b">", b"a") == b">A"
