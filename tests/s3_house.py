"""A real S3-compatible server for tests: rclone over a folder. It checks signatures."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from free_ports import free_port
from interlock.backends.blobs.s3.calls import Calls
from interlock.backends.blobs.s3.place import read_place
from interlock.backends.blobs.s3.signature import Credentials
from interlock.backends.blobs.s3.store import S3Blobs
from interlock.backends.egress.client import GuardedEgress
from interlock.kit.clock import SystemClock

KEYS = Credentials("tester", "a secret of these tests")
BUCKET = "blobs"
_DEADLINE = 20.0


@dataclass(frozen=True)
class S3Server:
    """A server on loopback with one bucket, whose objects are files in ``root``."""

    endpoint: str
    root: Path
    style: str

    def url(self, prefix: str = "", bucket: str = BUCKET) -> str:
        return f"s3://{bucket}/{prefix}?endpoint={self.endpoint}&style={self.style}"

    def blobs(self, egress: GuardedEgress, prefix: str = "", keys: Credentials = KEYS) -> S3Blobs:
        return S3Blobs(Calls(read_place(self.url(prefix)), keys, egress, SystemClock()))

    def objects(self) -> list[Path]:
        return sorted(path for path in (self.root / BUCKET).rglob("*") if path.is_file())


@contextmanager
def serve_s3(root: Path, style: str = "path") -> Iterator[S3Server]:
    """A server that ends with the context; with ``style`` host buckets are found by the name of the host."""
    (root / BUCKET).mkdir(parents=True, exist_ok=True)
    port = free_port()
    told = ["serve", "s3", "--config", "", "--addr", f"127.0.0.1:{port}"]
    told += ["--auth-key", f"{KEYS.key_id},{KEYS.secret}", f"--force-path-style={str(style == 'path').lower()}"]
    rclone = str(Path(sys.executable).with_name("rclone"))
    process = subprocess.Popen([rclone, *told, str(root)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await(port, process)
        yield S3Server(f"http://{'127.0.0.1' if style == 'path' else 'localhost'}:{port}", root, style)
    finally:
        process.kill()
        process.wait()


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _DEADLINE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            assert process.poll() is None, "rclone ended"
            assert time.monotonic() < until, "rclone does not listen"
            time.sleep(0.02)
        else:
            return


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The server of this session."""
    with serve_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server
