"""The local stack's downloads: pinned, checked, resumed, never left half done."""

from __future__ import annotations

import datetime
import errno
import hashlib
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from deployments.local import download
from deployments.local.download import fetch
from deployments.local.errors import CertificateError, ChecksumError, DiskFullError, DownloadError
from deployments.local.jars import LOCK_FILE, Jar, parse
from redrive.errors import ConfigError

CONTENT = bytes(range(256)) * 4000
JAR = Jar("kafka", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), "org/example/a/1/a-1.jar")


class Server(ThreadingHTTPServer):
    """Serves `content` at every path; breaks the connection after `cut` bytes as long as `cuts` last."""

    content = CONTENT
    status = 200
    cut = len(CONTENT) // 3
    cuts = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        span = self.headers["Range"]
        self.server.asked.append(span)
        body = self.server.content[int(span.removeprefix("bytes=").removesuffix("-")) if span else 0 :]
        self.send_response(self.server.status if not span else 206)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.cuts:
            self.server.cuts -= 1
            body = body[: self.server.cut]
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def files_in(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def test_the_lock_file_pins_every_program() -> None:
    jars = parse(LOCK_FILE.read_text())
    assert {jar.group.partition("@")[0] for jar in jars} == {"kafka", "dynamodb", "registry"}
    assert len({(jar.group, jar.path) for jar in jars}) == len(jars)
    # Kafka's parts in one version: a list of versions from elsewhere once replaced some by older ones.
    versions = {jar.path.split("/")[-2] for jar in jars if jar.path.startswith("org/apache/kafka/")}
    assert len(versions) == 1


def test_a_lock_line_reads_back_as_written() -> None:
    assert parse(f"# comment\n\n{JAR}\n") == [JAR]


@pytest.mark.parametrize(
    "line",
    ["kafka abc 12 a.jar", f"kafka {'0' * 64} x a.jar", f"kafka {'0' * 64} 1 ../a.jar", f"kafka {'0' * 64} 1 /a.jar"],
    ids=["short checksum", "size is no number", "leaves the cache", "absolute"],
)
def test_a_bad_lock_line_is_named(line: str) -> None:
    with pytest.raises(ConfigError, match=r"jars\.lock:2"):
        parse(f"# comment\n{line}\n")


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    for _ in range(2):
        fetch([JAR], tmp_path, server.url)
    assert (tmp_path / JAR.path).read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_file_that_two_programs_share_is_fetched_once(server: Server, tmp_path: Path) -> None:
    fetch([JAR, Jar("dynamodb", JAR.sha256, JAR.size, JAR.path)], tmp_path, server.url)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "content", [CONTENT[:-1] + b"x", CONTENT + b"more"], ids=["other content", "longer than pinned"]
)
def test_a_file_that_is_not_the_pinned_one_is_thrown_away(server: Server, tmp_path: Path, content: bytes) -> None:
    server.content = content
    with pytest.raises(ChecksumError, match=r"a-1\.jar is not the file that jars\.lock names"):
        fetch([JAR], tmp_path, server.url)
    assert files_in(tmp_path) == []


def test_a_broken_connection_is_resumed_where_it_broke(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "FIRST_PAUSE", 0.01)
    server.cuts = 2
    fetch([JAR], tmp_path, server.url)
    assert (tmp_path / JAR.path).read_bytes() == CONTENT
    first, *later = server.asked
    assert first is None
    assert len(later) == 2
    assert "bytes=0-" not in later


def test_a_connection_that_always_breaks_leaves_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "FIRST_PAUSE", 0.001)
    server.cuts, server.cut = 1000, 10
    with pytest.raises(DownloadError, match="check the network"):
        fetch([JAR], tmp_path, server.url)
    assert files_in(tmp_path) == []


def test_no_network_is_said_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "FIRST_PAUSE", 0.001)
    with pytest.raises(DownloadError, match=r"download of a-1\.jar is unavailable: .*refused"):
        fetch([JAR], tmp_path, "http://127.0.0.1:9")


def test_a_missing_file_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(DownloadError, match="404"):
        fetch([JAR], tmp_path, server.url)
    assert len(server.asked) == 1


def test_a_full_disk_names_the_file(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "_receive", full)
    with pytest.raises(DiskFullError, match=r"no space left on the disk while writing .*a-1\.jar"):
        fetch([JAR], tmp_path, server.url)
    assert files_in(tmp_path) == []


def test_a_certificate_that_is_not_trusted_is_said_at_once_with_the_way_out(server: Server, tmp_path: Path) -> None:
    certificate = tmp_path / "own.pem"
    certificate.write_bytes(own_certificate())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with pytest.raises(CertificateError, match=r"a-1\.jar: .*certificate.*REQUESTS_CA_BUNDLE="):
        fetch([JAR], tmp_path / "jars", server.url.replace("http:", "https:"))


def own_certificate() -> bytes:
    """A key and a certificate that it has signed itself."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    encoding = serialization.Encoding.PEM
    private = (encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*private) + made.public_bytes(encoding)
