"""Runs RTSP servers as programs, so that a test can end them, or make them fall silent, at any moment."""

import contextlib
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

SYSTEM_PYTHON = Path("/usr/bin/python3")
PROGRAM = Path(__file__).with_name("rtsp.py")
_NEEDS = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"


class RtspServer:
    """A GStreamer server of one clip on loopback, at /clip."""

    def __init__(
        self, clip: Path, *, loop: bool = False, port: int = 0, user: str = "", password: str = ""
    ) -> None:
        """Start it; returns when it serves."""
        command = [str(SYSTEM_PYTHON), str(PROGRAM), str(clip), "--port", str(port)]
        command += ["--loop"] if loop else []
        command += ["--user", user, "--password", password] if user else []
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the RTSP server did not start"
        self.port = int(line)

    def url(self, path: str = "/clip", user_info: str = "") -> str:
        at = f"{user_info}@" if user_info else ""
        return f"rtsp://{at}127.0.0.1:{self.port}{path}"

    def fall_silent(self) -> None:
        """Stop the process where it is; its connections stay open."""
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """End it without a farewell; its port is free afterwards."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


@cache
def has_gstreamer() -> bool:
    """Whether the system's Python has GStreamer's RTSP server."""
    if not SYSTEM_PYTHON.exists():
        return False
    probe = subprocess.run([str(SYSTEM_PYTHON), "-c", _NEEDS], capture_output=True, check=False)
    return probe.returncode == 0


@pytest.fixture(name="rtsp")
def rtsp_servers() -> Iterator[Callable[..., RtspServer]]:
    """Start RTSP servers; all end with the test."""
    if not has_gstreamer():
        pytest.skip("the system's python3 has no GstRtspServer (gir1.2-gst-rtsp-server-1.0)")
    started: list[RtspServer] = []

    def start(clip: Path, **settings: object) -> RtspServer:
        started.append(RtspServer(clip, **settings))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for server in started:
        server.kill()
