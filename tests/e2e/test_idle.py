"""A worker that has nothing to do leaves the processor alone."""

import sys
import time
from pathlib import Path

import pytest
from e2e.queues import codes, config, send_pictures

SECONDS = 5.0
WAKE_UPS_A_SECOND = 3
"""The watchdog looks after the host about once a second; the rest is for what else may happen."""


def wake_ups(pid: int) -> int:
    """Return how often the threads of a process have gone to sleep of their own accord so far."""
    found = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        [line] = [line for line in status.read_text().splitlines() if line.startswith("voluntary_ctxt")]
        found += int(line.split()[1])
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="wake-ups are counted in /proc")
def test_an_idle_worker_sleeps(spawn):
    settings = [{}, {"batch_mode": "adaptive", "concurrency": 2}, {"batch_mode": "window", "window_ms": 1}]
    hosts = [spawn(config({"path": "fake:noop?size=32"}, **one)) for one in settings]
    for host in hosts:
        assert codes(map(host.answer, send_pictures(host, [None] * 20))) == ["ok"] * 20
    time.sleep(1.0)  # for what the start and the requests leave to be done
    before = [wake_ups(host.process.pid) for host in hosts]
    time.sleep(SECONDS)
    woken = [wake_ups(host.process.pid) - count for host, count in zip(hosts, before, strict=True)]
    assert max(woken) <= WAKE_UPS_A_SECOND * SECONDS, woken
