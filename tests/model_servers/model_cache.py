"""The model cache's server from hosts/rust/model-cache, built once by cargo, as a child process."""

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

RUST = Path(__file__).resolve().parents[2] / "hosts" / "rust"
PACKAGE = "model-cache"
BUILD_S = 1200
START_S = 30
CALL = re.compile(r'model-cache: "(?P<model>.*?)" "(?P<file>.*?)" to \S+: (?P<outcome>.*) in [\d.]+ s$')


@functools.cache
def binary() -> Path:
    """Return the built server; skip without cargo, or fail where everything must be there."""
    cargo = shutil.which("cargo")
    if cargo is None:
        assert "INFERPIPE_CI" not in os.environ, "cargo is missing"
        pytest.skip("cargo is not installed")
    # Of all packages, and with an example, as `cargo test` builds it: what that has built is not built anew.
    command = [cargo, "build", "--quiet", "--workspace", "--bin", PACKAGE, "--example", "detect_folder"]
    subprocess.run(command, cwd=RUST, check=True, timeout=BUILD_S, stdin=subprocess.DEVNULL)
    return Path(RUST, os.environ.get("CARGO_TARGET_DIR", "target"), "debug", PACKAGE)


class ModelCacheServer:
    """One server over one folder; it can be killed and started again at the same address."""

    def __init__(self, root: Path, *arguments: str, listen: str = "127.0.0.1:0") -> None:
        self._command = [str(binary()), "--root", str(root), *arguments]
        self._listen = listen
        self._process: subprocess.Popen[str] | None = None
        self.log: list[str] = []
        """The lines of stderr, of all its lives."""
        self.start()

    @property
    def target(self) -> str:
        """What a client connects to."""
        return self._listen

    def start(self) -> None:
        """Start it; returns when clients can connect."""
        process = subprocess.Popen(
            [*self._command, "--listen", self._listen],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._process = process
        threading.Thread(target=self._read_log, args=(process,), daemon=True).start()
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("listening on "), (said, self.log)
        self._listen = said.removeprefix("listening on ").strip()

    def calls(self, count: int = 0, within_s: float = 10.0) -> list[tuple[str, str]]:
        """Return file and outcome of each call so far; waits until there are `count`."""
        until = time.monotonic() + within_s
        while True:
            found = [(match["file"], match["outcome"]) for line in self.log if (match := CALL.match(line))]
            if len(found) >= count or time.monotonic() > until:
                return found
            time.sleep(0.01)

    def kill(self) -> None:
        """End it as a crash would."""
        self._signal(signal.SIGKILL)
        self._wait()

    def pause(self) -> None:
        """Let it hang: connected, and silent."""
        self._signal(signal.SIGSTOP)

    def stop(self) -> None:
        """End it for good."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._wait()

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _wait(self) -> None:
        assert self._process is not None
        self._process.wait(START_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None

    def _read_log(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr as stderr:
            self.log.extend(line.rstrip("\n") for line in stderr)


@contextlib.contextmanager
def serving(
    root: Path, arguments: Sequence[str] = (), listen: str = "127.0.0.1:0"
) -> Iterator[ModelCacheServer]:
    """Give a server over a folder, laid out as owner/name/file."""
    server = ModelCacheServer(root, *arguments, listen=listen)
    try:
        yield server
    finally:
        server.stop()
