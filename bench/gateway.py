"""The gateway: events a second and slowest answers, beside handlers of the same framework."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import httpx2

from bench.measure import Row, compare
from bench.platform import Bench
from deployments.demo.flights import flights
from redrive.gateway.api_keys import hash_of, new_key
from redrive.gateway.cloud_events import BATCH, SINGLE
from redrive.topics import apply_topics

EVENTS = 2_500
"""A pass: some 5 s, long enough for a row that is much the same from run to run."""
BATCHES = 100
SIZE = 200
CONNECTIONS = 32
FLIGHTS = list(islice(((plane, event) for _, plane, event in flights() if event["dep_time"] is not None), EVENTS))
DOOR = """
[gateway]
name = "bench"
port = {port}
admin_port = 0
drain = 0
[gateway.types]
"flight.departed" = "{topic}"
[gateway.partners.bench]
types = ["flight.departed"]
keys = ["{hash}"]
rate = 1_000_000
"""


Server = tuple[int, str]
"""A port, and a path."""


def rows(folder: Path) -> list[Row]:
    """Return the rows about the gateway."""
    with _served(folder) as (door, nothing, plain, key):
        slowest: dict[Server, list[float]] = {door: [], nothing: [], plain: []}

        def singles(server: Server) -> float:
            seconds, waits = _sent(server, key, SINGLE, [json.dumps(event).encode() for event in _events(EVENTS)])
            slowest[server].append(sorted(waits)[len(waits) * 99 // 100] * 1_000)
            return EVENTS / seconds

        def batches(server: Server) -> float:
            bodies = [json.dumps(_events(SIZE)).encode() for _ in range(BATCHES)]
            return BATCHES * SIZE / _sent(server, key, BATCH, bodies)[0]

        one, many = "gateway, an event a request", f"gateway, {SIZE} events a request"
        like, bare = "beside fastavro + produce() in a handler", "beside a handler that does nothing"

        def beside_plain() -> Row:
            return compare(f"{one}, {like} (events/s)", lambda: singles(door), lambda: singles(plain), at_least=0.5)

        def beside_nothing() -> Row:
            return compare(f"{one}, {bare} (events/s)", lambda: singles(door), lambda: singles(nothing), at_least=0.1)

        def p99(name: str, peer: Server, at_most: float) -> Row:
            ours, theirs = iter(slowest[door]), iter(slowest[peer])
            row = compare(name, lambda: next(ours), lambda: next(theirs), at_most=at_most)
            slowest[door].clear()
            return row

        return [
            beside_plain(),
            p99(f"{one}, {like} (p99, ms)", plain, 2.0),
            beside_nothing(),
            p99(f"{one}, {bare} (p99, ms)", nothing, 10.0),
            compare(f"{many}, {like} (events/s)", lambda: batches(door), lambda: batches(plain), at_least=0.3),
        ]


@contextmanager
def _served(folder: Path) -> Iterator[tuple[Server, Server, Server, str]]:
    """Run both servers in processes of their own; give the gateway, its peers, and a key."""
    bench, key = Bench(folder), new_key()
    apply_topics(bench.config)
    ours, peer = _free_port(), _free_port()
    with bench.settings.open("a") as file:
        file.write(DOOR.format(port=ours, topic=bench.topic, hash=hash_of(key)))
    bootstrap = str(bench.client["bootstrap.servers"])
    environment = os.environ | {"REDRIVE_CONFIG": str(bench.settings)}
    environment |= {"BENCH_BOOTSTRAP": bootstrap, "BENCH_TOPIC": bench.topic}
    gateway = [sys.executable, "-c", "from deployments.cli import main; main()", "gateway"]
    plain = [sys.executable, "-m", "uvicorn", "bench.bare_handler:app", "--no-access-log", "--port", str(peer)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        for command in (gateway, plain)
    ]
    try:
        for port in (ours, peer):
            _wait_for(port)
        yield (ours, "/v1/events"), (peer, "/nothing"), (peer, "/plain"), key
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(60)


def _events(count: int) -> list[dict[str, object]]:
    run = uuid.uuid4().hex
    head = {"specversion": "1.0", "source": run, "type": "flight.departed"}
    return [
        head | {"id": str(number), "partitionkey": plane, "data": event | {"time_hour": 1_357_000_000_000}}
        for number, (plane, event) in enumerate(FLIGHTS[:count])
    ]


def _sent(server: Server, key: str, media: str, bodies: list[bytes]) -> tuple[float, list[float]]:
    """Send bodies over several connections; return the seconds in all, and those of each answer."""
    port, path = server
    head = f"POST {path}/flight.departed HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: {media}\r\n"
    requests = iter([f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies])
    waits: list[float] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in requests:
            started = time.perf_counter()
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert b" 202 " in answer.split(b"\r\n", 1)[0], answer
            length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            waits.append(time.perf_counter() - started)
        writer.close()

    async def all_of_them() -> float:
        started = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
        return time.perf_counter() - started

    return asyncio.run(all_of_them()), waits


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            httpx2.get(f"http://127.0.0.1:{port}/openapi.json")
            return
        except httpx2.TransportError:
            assert time.monotonic() < deadline, f"nothing serves on {port}"
            time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
