"""What can go wrong with the local stack; each message names the thing and the way out."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redrive.errors import RedriveError, UnavailableError


class DownloadError(UnavailableError):
    """A file could not be fetched: no network, or the server does not give it.

    Attributes:
        url: the file's address.
    """

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        super().__init__(
            f"download of {url.rsplit('/', 1)[-1]}",
            f"{reason} ({url}); check the network and start again: what is complete is kept",
        )


class CertificateError(RedriveError):
    """A server's certificate is not trusted.

    Attributes:
        url: the file's address.
    """

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        super().__init__(
            f"download of {url.rsplit('/', 1)[-1]}: {reason} ({url}); if a proxy of your network signs with "
            "certificates of its own, name their file: REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt"
        )


class ChecksumError(RedriveError):
    """A file arrived whole but is not the one that the lock file names; it was thrown away.

    Attributes:
        url: the file's address.
        expected: what the lock file says.
        found: what arrived.
    """

    def __init__(self, url: str, expected: str, found: str) -> None:
        self.url, self.expected, self.found = url, expected, found
        super().__init__(
            f"{url} is not the file that jars.lock names: expected {expected}, got {found}; "
            "something on the way (a proxy?) changes it. Nothing was kept."
        )


class DiskFullError(RedriveError):
    """The disk has no room.

    Attributes:
        path: what was being written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"no space left on the disk while writing {path}; make room there and start again")


class PortTakenError(RedriveError):
    """Another process listens on a port that a node needs.

    Attributes:
        node: the node that needs it.
        port: the port.
    """

    def __init__(self, node: str, port: int, holder: str) -> None:
        self.node, self.port = node, port
        super().__init__(f"{node} needs port {port}, which {holder} holds; stop that, or use `--ports free`")


class NodeDiedError(RedriveError):
    """A node's process ended although it was to run.

    Attributes:
        node: its name.
        log: its log file.
    """

    def __init__(self, node: str, how: str, log: Path, tail: str) -> None:
        self.node, self.log = node, log
        super().__init__(f"{node} {how}; its log {log} ends with: {tail}")


class NotReadyError(UnavailableError):
    """A node's process runs but does not answer in time.

    Attributes:
        node: its name.
        log: its log file.
    """

    def __init__(self, node: str, seconds: float, reason: str, log: Path, tail: str) -> None:
        self.node, self.log = node, log
        super().__init__(node, f"not ready after {seconds:.0f} s ({reason}); its log {log} ends with: {tail}")


class StackError(RedriveError):
    """The stack is not in the state that a command needs: it runs already, or it does not run."""


@contextmanager
def on_disk_errors(path: Path) -> Iterator[None]:
    """Turn the system's "no space left" into a :class:`DiskFullError` that names what was being written."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFullError(path) from error
        raise
