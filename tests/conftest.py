"""What several suites share: where the test data lie, and hosts with a worker each."""

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray
from raw_host import RawHost

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"

# No test judges time: the machine may be busy with something else.
settings.register_profile("inferpipe", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("inferpipe")

# Tests that import the library before its adapter does report nowhere either.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# A shell's background job has interrupts ignored, and so would the programs that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return ../shared/data: real models and pictures, which are no part of the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip("../shared/data is not here")
    return SHARED_DATA


@pytest.fixture
def spawn() -> Iterator[Callable[..., RawHost]]:
    """`RawHost.spawn`; whatever the test leaves running is ended after it."""
    hosts: list[RawHost] = []

    def spawn_one(*arguments: Any, **settings: Any) -> RawHost:
        hosts.append(RawHost.spawn(*arguments, **settings))
        return hosts[-1]

    yield spawn_one
    for host in hosts:
        host.destroy()


@pytest.fixture(scope="session")
def shared_host() -> Iterator[Callable[[Mapping[str, Any]], RawHost]]:
    """Return a worker of a configuration that lives through the session: for tests that leave no state."""
    hosts: dict[str, RawHost] = {}

    def host_of(config: Mapping[str, Any]) -> RawHost:
        key = json.dumps(config, sort_keys=True)
        host = hosts.get(key)
        if host is not None and (host.ended or host.process.poll() is not None):
            host.destroy()
            del hosts[key]
        if key not in hosts:
            hosts[key] = RawHost.spawn(config)
        return hosts[key]

    yield host_of
    for host in hosts.values():
        host.destroy()


@pytest.fixture(scope="session")
def encode_picture() -> Callable[..., bytes]:
    """Return what encodes an RGB picture: `encode_picture(rgb, ".png")`. JPEG in the best quality."""

    def encode(rgb: NDArray[np.uint8], kind: str = ".jpg") -> bytes:
        settings = [cv2.IMWRITE_JPEG_QUALITY, 100] if kind == ".jpg" else []
        done, data = cv2.imencode(kind, np.ascontiguousarray(rgb[..., ::-1]), settings)
        assert done
        return bytes(data)

    return encode
