"""Fetch pinned files in parallel: checked by size and SHA-256, resumed when the network breaks, never half done."""

from __future__ import annotations

import hashlib
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from deployments.local.errors import CertificateError, ChecksumError, DownloadError, on_disk_errors

THREADS = 6
ATTEMPTS = 5
# Seconds before the second attempt, doubled before each later one.
FIRST_PAUSE = 1.0
# Seconds to connect, and of silence in mid-file, before an attempt counts as broken.
TIMEOUT = (10, 30)
BLOCK = 1 << 18


class Pinned(Protocol):
    """A file that is known before it is fetched."""

    @property
    def path(self) -> str: ...  # noqa: D102 (the class says it)
    @property
    def sha256(self) -> str: ...  # noqa: D102 (the class says it)
    @property
    def size(self) -> int: ...  # noqa: D102 (the class says it)


def fetch(files: Sequence[Pinned], folder: Path, base_url: str) -> None:
    """Bring the files that the folder lacks into it, each at its path.

    A file is there if it has its size: files get their name only after their checksum was right.

    Raises:
        DownloadError: a file could not be fetched.
        ChecksumError: a file is not the pinned one.
        DiskFullError: no room.
    """
    by_path = {file.path: file for file in files}
    missing = [file for file in by_path.values() if not _is_there(folder / file.path, file.size)]
    if not missing:
        return
    stop = threading.Event()
    with _progress(len(missing), sum(file.size for file in missing)) as advance, ThreadPoolExecutor(THREADS) as pool:
        # Biggest first, so that none of them is alone at the end.
        missing.sort(key=lambda file: -file.size)
        futures = [
            pool.submit(_fetch_one, file, folder / file.path, f"{base_url}/{file.path}", advance, stop)
            for file in missing
        ]
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _is_there(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _fetch_one(file: Pinned, target: Path, url: str, advance: Callable[[int], None], stop: threading.Event) -> None:
    with on_disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".part-", dir=target.parent)
        part = Path(name)
        try:
            with open(handle, "w+b") as stream:  # noqa: PTH123 (an open descriptor, not a path)
                _receive(url, stream, file.size, advance, stop)
                size = stream.tell()
                stream.seek(0)
                found = hashlib.file_digest(stream, "sha256").hexdigest()
            if (size, found) != (file.size, file.sha256):
                raise ChecksumError(url, f"{file.size} bytes with {file.sha256}", f"{size} bytes with {found}")
            part.rename(target)
        finally:
            part.unlink(missing_ok=True)


def _receive(url: str, stream: BinaryIO, size: int, advance: Callable[[int], None], stop: threading.Event) -> None:
    """Write the body to the stream, going on where a broken connection left off."""
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt and stop.wait(FIRST_PAUSE * 2 ** (attempt - 1)):
            raise DownloadError(url, "stopped")
        try:
            _receive_rest(url, stream, size, advance, stop)
        except requests.HTTPError as error:
            reason = str(error)
            if error.response is None or (error.response.status_code < 500 and error.response.status_code != 429):
                break
        except requests.exceptions.SSLError as error:
            # Trying again does not help; between here and there, somebody signs with certificates of their own.
            raise CertificateError(url, _innermost(error)) from error
        except requests.RequestException as error:
            reason = _innermost(error)
        else:
            if stream.tell() >= size:
                return
            reason = f"the connection ended after {stream.tell()} of {size} bytes"
    raise DownloadError(url, reason)


def _receive_rest(url: str, stream: BinaryIO, size: int, advance: Callable[[int], None], stop: threading.Event) -> None:
    have = stream.tell()
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        response.raise_for_status()
        if have and response.status_code != requests.codes.partial_content:
            advance(-have)
            stream.seek(0)
            stream.truncate()
        for block in response.iter_content(BLOCK):
            if stop.is_set():
                raise DownloadError(url, "stopped")
            stream.write(block)
            advance(len(block))
            if stream.tell() > size:
                return


def _innermost(error: BaseException) -> str:
    """What is really wrong, from under the wrappers of requests and urllib3."""
    while (inner := error.__cause__ or error.__context__ or next(iter(error.args), None)) and isinstance(
        inner, BaseException
    ):
        error = inner
    return str(error) or type(error).__name__


@contextmanager
def _progress(files: int, size: int) -> Iterator[Callable[[int], None]]:
    """One bar on a terminal; elsewhere a line at every quarter. Both on standard error."""
    title = f"downloading {files} files"
    lock = threading.Lock()
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(title, total=size)
            yield lambda count: progress.advance(task, count)
        return
    started, done, quarters = time.monotonic(), 0, 0
    print(f"{title}, {size / 1e6:.0f} MB", file=sys.stderr, flush=True)

    def advance(count: int) -> None:
        nonlocal done, quarters
        with lock:
            done += count
            if done * 4 // size > quarters:
                quarters = done * 4 // size
                seconds = time.monotonic() - started
                print(f"  {done / 1e6:.0f} MB after {seconds:.0f} s", file=sys.stderr, flush=True)

    yield advance
