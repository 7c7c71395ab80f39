"""Attaching and detaching on a real loop, over real files: who waits for what, and in what order."""

import asyncio
import gc
import os
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from frame_cache.shared_memory import SharedRegion
from preprocess.buffers import BufferPool
from protocol.errors import ErrorCode
from worker import regions
from worker.regions import RegionTable

if sys.platform == "linux":
    import fcntl

SIZE = 64 * 1024
TIMEOUT = 20.0

memory_files = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this platform has no memfd")


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / "region"
    path.write_bytes(b"\x07" * SIZE)
    return str(path)


@pytest.fixture
def other(tmp_path):
    path = tmp_path / "other"
    path.write_bytes(b"\x09" * SIZE)
    return str(path)


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


class Host:
    """A table on the running loop, and the answers that a host would get of it, in order."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.table = RegionTable(self.loop, BufferPool(8 << 20))
        self.answers = []
        self.threads = set()
        self._answered = asyncio.Event()

    def attach(self, name, region_id, path, size=SIZE, trusted=False):
        self.table.attach(region_id, path, size, trusted, partial(self._attached, name))

    def detach(self, name, region_id):
        self.table.detach(region_id, partial(self._note, name))

    def infer(self, name, region_id, offset=0, size=SIZE, held=None):
        """Read a region as a request does; keep what it uses in `held`."""
        attachment = self.table.get(region_id)
        assert attachment is not None
        attachment.when_open(partial(self._infer, name, offset, size, held))

    async def until(self, name):
        """Wait until an answer has come, and return it."""
        async with asyncio.timeout(TIMEOUT):
            while name not in dict(self.answers):
                self._answered.clear()
                await self._answered.wait()
        return dict(self.answers)[name]

    def _attached(self, name, failure, mapped):
        self._note(name, failure or mapped)

    def _infer(self, name, offset, size, held, region, failure):
        if failure is None:
            view = region.use(offset, size).read()
            if held is not None:
                held.append(view)
            self._note(name, view[0])
        else:
            self._note(name, failure)

    def _note(self, name, answer):
        self.threads.add(threading.current_thread())
        self.answers.append((name, answer))
        self._answered.set()

    @property
    def order(self):
        return [name for name, _ in self.answers]


class Gate:
    """A file system that does not answer for paths under /dead until it is let: a double of `open`."""

    def __init__(self, monkeypatch):
        self.answers = threading.Event()
        self._open = SharedRegion.open
        monkeypatch.setattr(regions.SharedRegion, "open", self.open)

    def open(self, path, size, trusted, pool):
        if path.startswith("/dead"):
            assert self.answers.wait(TIMEOUT)
            path = path.removeprefix("/dead")
        return self._open(path, size, trusted, pool)


@pytest.fixture
def gate(monkeypatch):
    gate = Gate(monkeypatch)
    yield gate
    gate.answers.set()


def run(scenario):
    asyncio.run(scenario(), debug=False)


# Attaching


@pytest.mark.parametrize("trusted", [False, True])
def test_an_attached_region_is_read_until_it_is_detached(trusted, plain):
    async def scenario():
        host = Host()
        host.attach("attach", 7, plain, trusted=trusted)
        assert await host.until("attach") is trusted
        host.infer("infer", 7)
        assert host.answers[-1] == ("infer", 7)
        host.detach("detach", 7)
        assert host.table.get(7) is None
        assert await host.until("detach") is None
        assert host.threads == {threading.main_thread()}

    run(scenario)


def test_an_id_is_attached_at_once_and_requests_wait_for_the_file_in_order(plain):
    async def scenario():
        host = Host()
        host.attach("attach", 7, plain)
        for number in range(5):
            host.infer(number, 7)
        assert host.answers == []
        await host.until(4)
        host.infer("later", 7)
        assert host.order == ["attach", 0, 1, 2, 3, 4, "later"]

    run(scenario)


def test_a_failed_attach_reaches_who_waits_and_frees_the_id(tmp_path, plain):
    async def scenario():
        host = Host()
        host.attach("attach", 7, str(tmp_path / "none"))
        held = host.table.get(7)
        host.infer("infer", 7)
        failure = await host.until("attach")
        assert (failure.code, "No such file" in failure.text) == (ErrorCode.BAD_REQUEST, True)
        assert await host.until("infer") == failure
        assert host.order == ["attach", "infer"]
        assert host.table.get(7) is None
        late = []
        held.when_open(lambda region, why: late.append((region, why)))
        assert late == [(None, failure)]

        host.attach("again", 7, plain)
        assert await host.until("again") is False

    run(scenario)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this platform has no /proc/<pid>/fd")
def test_a_descriptor_out_of_reach_is_unsupported():
    async def scenario():
        host = Host()
        host.attach("attach", 7, "/proc/4194305/fd/3")
        failure = await host.until("attach")
        assert (failure.code, "cannot be reached" in failure.text) == (ErrorCode.UNSUPPORTED, True)

    run(scenario)


@pytest.mark.parametrize("opened", [False, True])
def test_an_id_that_is_attached_is_refused(opened, plain, other):
    async def scenario():
        host = Host()
        host.attach("attach", 7, plain)
        if opened:
            await host.until("attach")
        host.attach("again", 7, other)
        failure = await host.until("again")
        assert failure.code is ErrorCode.BAD_REQUEST
        assert "region 7 is attached already" in failure.text
        host.infer("infer", 7)
        assert await host.until("infer") == 7  # the first one stays

    run(scenario)


def test_a_surprise_while_opening_is_answered(plain, monkeypatch):
    async def scenario():
        host = Host()
        monkeypatch.setattr(regions.SharedRegion, "open", lambda *_: 1 / 0)
        host.attach("attach", 7, plain)
        assert (await host.until("attach")).code is ErrorCode.INTERNAL
        assert host.table.get(7) is None

    run(scenario)


def test_an_open_that_hangs_keeps_nothing_else(plain, gate):
    async def scenario():
        host = Host()
        host.attach("hangs", 1, "/dead" + plain)
        host.infer("waits", 1)
        host.attach("attach", 2, plain)
        host.infer("infer", 2)
        await host.until("infer")
        assert host.order == ["attach", "infer"]
        gate.answers.set()
        assert await host.until("waits") == 7
        assert host.order == ["attach", "infer", "hangs", "waits"]

    run(scenario)


# Detaching


def test_what_is_not_attached(plain):
    async def scenario():
        host = Host()
        host.detach("never", 7)
        failure = await host.until("never")
        assert (failure.code, failure.text) == (ErrorCode.BAD_REQUEST, "region 7 is not attached")
        host.attach("attach", 7, plain)
        host.detach("detach", 7)
        host.detach("twice", 7)
        assert (await host.until("twice")).code is ErrorCode.BAD_REQUEST
        assert await host.until("detach") is None

    run(scenario)


def test_detach_waits_for_the_last_user(plain):
    async def scenario():
        host, held = Host(), []
        host.attach("attach", 7, plain, trusted=True)
        host.infer("infer", 7, held=held)
        await host.until("infer")
        host.detach("detach", 7)
        await asyncio.sleep(0.02)
        assert host.order == ["attach", "infer"]
        ending = threading.Thread(target=held.clear)  # as a prepare thread lets go of its picture
        ending.start()
        assert await host.until("detach") is None
        ending.join()
        assert host.threads == {threading.main_thread()}

    run(scenario)


def test_detach_while_opening_serves_first_who_came_before(plain, gate):
    async def scenario():
        host, held = Host(), []
        host.attach("attach", 7, "/dead" + plain, trusted=True)
        host.infer("first", 7)
        host.infer("second", 7, held=held)
        host.detach("detach", 7)
        assert host.table.get(7) is None
        await asyncio.sleep(0.02)
        assert host.answers == []
        gate.answers.set()
        assert await host.until("second") == 7
        await asyncio.sleep(0.02)
        assert host.order == ["attach", "first", "second"]
        held.clear()
        assert await host.until("detach") is None

    run(scenario)


def test_detach_of_what_then_cannot_be_opened(tmp_path):
    async def scenario():
        host = Host()
        host.attach("attach", 7, str(tmp_path / "none"))
        host.infer("infer", 7)
        host.detach("detach", 7)
        assert await host.until("detach") is None
        assert host.order == ["attach", "infer", "detach"]
        assert [answer.code for _, answer in host.answers[:2]] == [ErrorCode.BAD_REQUEST] * 2

    run(scenario)


def test_an_id_names_another_region_while_the_old_one_is_in_use(plain, other):
    async def scenario():
        host, held = Host(), []
        host.attach("old", 7, plain, trusted=True)
        host.infer("from old", 7, held=held)
        await host.until("from old")
        host.detach("detach old", 7)
        host.attach("new", 7, other, trusted=True)
        host.infer("from new", 7)
        assert await host.until("from new") == 9
        assert bytes(held[0][:2]) == b"\x07\x07"
        assert "detach old" not in host.order
        held.clear()
        assert await host.until("detach old") is None
        assert host.table.get(7) is not None

    run(scenario)


def test_an_open_that_fails_late_leaves_a_newer_region_alone(tmp_path, plain, gate):
    async def scenario():
        host = Host()
        host.attach("old", 7, "/dead" + str(tmp_path / "none"))
        host.detach("detach old", 7)
        host.attach("new", 7, plain)
        await host.until("new")
        gate.answers.set()
        assert (await host.until("old")).code is ErrorCode.BAD_REQUEST
        assert await host.until("detach old") is None
        host.infer("infer", 7)
        assert await host.until("infer") == 7

    run(scenario)


@memory_files
def test_pictures_of_a_memfd_come_in_place(plain):
    async def scenario():
        host = Host()
        descriptor = os.memfd_create("region", os.MFD_ALLOW_SEALING)
        os.pwrite(descriptor, b"\x05" * SIZE, 0)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        host.attach("attach", 7, f"/proc/{os.getpid()}/fd/{descriptor}")
        assert await host.until("attach") is True
        host.infer("first", 7)
        os.pwrite(descriptor, b"\x06", 0)
        host.infer("second", 7)
        assert host.answers[1:] == [("first", 5), ("second", 6)]
        os.close(descriptor)

    run(scenario)


# Bounds


def test_more_regions_than_allowed_are_refused_until_one_is_unused(plain, monkeypatch):
    monkeypatch.setattr(regions, "MAX_REGIONS", 3)

    async def scenario():
        host, held = Host(), []
        for region_id in range(3):
            host.attach(region_id, region_id, plain, trusted=True)
            await host.until(region_id)
        host.infer("infer", 0, held=held)
        host.detach("detach", 0)
        host.attach("too many", 3, plain)  # the one in use still counts
        assert (await host.until("too many")).code is ErrorCode.OVERLOADED
        assert host.table.get(3) is None
        held.clear()
        await host.until("detach")
        host.attach("fits", 3, plain)
        assert await host.until("fits") is False

    run(scenario)


def test_failed_attaches_do_not_count(tmp_path, plain, monkeypatch):
    monkeypatch.setattr(regions, "MAX_REGIONS", 1)

    async def scenario():
        host = Host()
        for number in range(5):
            host.attach(number, 7, str(tmp_path / "none"))
            assert (await host.until(number)).code is ErrorCode.BAD_REQUEST
        host.attach("attach", 7, plain)
        assert await host.until("attach") is False

    run(scenario)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this platform has no /proc/<pid>/fd")
@pytest.mark.parametrize("trusted", [False, True])
def test_descriptors_come_back(trusted, plain):
    async def scenario():
        host = Host()
        before = open_descriptors()
        for number in range(200):
            host.attach(f"attach {number}", 7, plain, trusted=trusted)
            host.infer(f"infer {number}", 7)
            host.detach(f"detach {number}", 7)
        for number in range(200):
            assert await host.until(f"detach {number}") is None
        assert open_descriptors() == before
        assert len(host.table) == 0

    run(scenario)


def test_users_and_opens_that_end_after_the_loop_disturb_nobody(plain, gate, capfd):
    held = []

    async def scenario():
        host = Host()
        host.attach("attach", 7, plain, trusted=True)
        host.infer("infer", 7, held=held)
        await host.until("infer")
        host.detach("detach", 7)
        host.attach("hangs", 8, "/dead" + plain)

    before = set(threading.enumerate())
    run(scenario)
    held.clear()  # an exception in a finaliser would be a warning, which is an error here
    gate.answers.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(TIMEOUT)
    gc.collect()
    assert capfd.readouterr().err == ""
