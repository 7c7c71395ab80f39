"""A real S3 server on loopback: s3s-fs, which serves folders as buckets.

Built once a machine by cargo, into the user's cache (70 to 80 s on two cores); INFERPIPE_S3S_FS names one
that is there already.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock
import pytest

VERSION = "0.14.1"
RUST = (1, 92)
"""The oldest that builds it."""
BUILD_S = 1200
ACCESS_KEY, SECRET_KEY = "an-access-key", "a-secret-key"


@dataclass(frozen=True)
class S3Server:
    url: str
    root: Path
    """Each folder in it is a bucket."""
    process: subprocess.Popen[bytes]

    def put(self, bucket: str, key: str, content: bytes) -> None:
        path = self.root / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def program() -> Path:
    """Return the server's program, built where it is not there; skips the test where it cannot be."""
    given = os.environ.get("INFERPIPE_S3S_FS")
    if given:
        return Path(given)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "inferpipe-tests"
    home = caches / f"s3s-fs-{VERSION}"
    path = home / "bin" / "s3s-fs"
    caches.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{home}.lock"):
        if not path.exists():
            _check_rust()
            _build(home)
    return path


def _check_rust() -> None:
    if shutil.which("cargo") is None:
        pytest.skip("cargo is not here, which builds s3s-fs, the S3 server of these tests")
    said = subprocess.run(["cargo", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"cargo (\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < RUST:
        needed = ".".join(map(str, RUST))
        pytest.skip(f"s3s-fs, the S3 server of these tests, needs Rust {needed}: this is {said.strip()!r}")


def _build(home: Path) -> None:
    """Build it without optimisation: it serves a few megabytes."""
    command = ["cargo", "install", "s3s-fs", "--version", VERSION, "--features", "binary", "--locked"]
    command += ["--debug", "--no-track", "--root", str(home), "--target-dir", str(home / "build")]
    environment = os.environ | {"CARGO_PROFILE_DEV_DEBUG": "false", "CARGO_PROFILE_DEV_STRIP": "true"}
    built = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=BUILD_S
    )
    shutil.rmtree(home / "build", ignore_errors=True)
    if built.returncode != 0:
        reason = f"s3s-fs cannot be built: {built.stderr[-500:]}"
        pytest.fail(reason) if os.environ.get("INFERPIPE_CI") else pytest.skip(reason)


@contextlib.contextmanager
def s3_server(server: Path, root: Path) -> Iterator[S3Server]:
    """Run a server's program over a folder until the context ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [server, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY, str(root)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port, process)
            yield S3Server(f"http://127.0.0.1:{port}", root, process)
        finally:
            process.kill()


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        assert process.poll() is None, "s3s-fs ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError("s3s-fs does not listen")
