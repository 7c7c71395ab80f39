"""Regions over real memory files, files and processes."""

import gc
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from frame_cache.errors import RegionError, RegionUnreachableError
from frame_cache.region_file import RegionFile
from frame_cache.shared_memory import SharedRegion
from preprocess.buffers import BufferPool

if sys.platform == "linux":
    import fcntl

SIZE = 256 * 1024
ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534

memory_files = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this platform has no memfd")
proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this platform has no /proc/<pid>/fd")


def pixels(seed=0, nbytes=SIZE):
    return np.random.default_rng(seed).bytes(nbytes)


class MemoryFile:
    """A memfd as a host makes it, filled with pixels."""

    def __init__(self, data=None, seals=None, length=None):
        self.data = pixels() if data is None else data
        self.descriptor = os.memfd_create("region", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        self.path = f"/proc/{os.getpid()}/fd/{self.descriptor}"
        os.pwrite(self.descriptor, self.data, 0)
        if length is not None:
            os.ftruncate(self.descriptor, length)
        if seals is not None:
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, seals)

    def write(self, data, offset=0):
        os.pwrite(self.descriptor, data, offset)

    def close(self):
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


@pytest.fixture
def memory_file():
    made = []

    def make(*arguments, **settings):
        made.append(MemoryFile(*arguments, **settings))
        return made[-1]

    yield make
    for file in made:
        file.close()


@pytest.fixture
def sealed(memory_file):
    return memory_file(seals=fcntl.F_SEAL_SHRINK)


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / "region"
    path.write_bytes(pixels())
    return path


@pytest.fixture
def pool():
    return BufferPool(8 << 20)


def attach(path, pool, size=SIZE, trusted=False):
    return SharedRegion.open(str(path), size, trusted, pool)


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Ends:
    """Counts how often a region was told to be unused."""

    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1


# Reading


@memory_files
def test_a_sealed_memfd_is_read_in_place(sealed, pool):
    region = attach(sealed.path, pool)
    assert (region.mapped, region.size) == (True, SIZE)
    view = region.use(100, 5000).read()
    assert view == sealed.data[100:5100]
    sealed.write(b"\x55" * 5000, 100)
    assert view == b"\x55" * 5000  # the same memory, not a copy
    assert region.use(100, 5000).read() == b"\x55" * 5000
    del view
    assert pool.idle_bytes == 0


def test_a_trusted_file_is_read_in_place(plain, pool):
    region = attach(plain, pool, trusted=True)
    assert region.mapped
    view = region.use(0, SIZE).read()
    assert view == pixels()
    with plain.open("r+b") as file:
        file.write(b"\x55" * SIZE)
    assert view == b"\x55" * SIZE


def test_any_other_file_is_copied_and_the_copy_stays_as_it_was(plain, pool):
    region = attach(plain, pool)
    assert not region.mapped
    copy = region.use(100, SIZE - 100).read()
    with plain.open("r+b") as file:
        file.write(b"\x55" * SIZE)
    assert copy == pixels()[100:]
    assert region.use(100, SIZE - 100).read() == b"\x55" * (SIZE - 100)
    del copy
    assert pool.idle_bytes > 0  # the memory is the pool's, and came back


@memory_files
@pytest.mark.parametrize("seals", [None, "F_SEAL_GROW", "F_SEAL_SEAL"])
def test_a_memfd_that_may_shrink_is_copied(seals, memory_file, pool):
    file = memory_file(seals=None if seals is None else getattr(fcntl, seals))
    region = attach(file.path, pool)
    assert not region.mapped
    assert region.use(0, SIZE).read() == file.data


@memory_files
def test_a_memfd_that_may_shrink_is_mapped_where_the_host_vouches_for_it(memory_file, pool):
    file = memory_file()
    region = attach(file.path, pool, trusted=True)
    assert region.mapped
    assert region.use(0, SIZE).read() == file.data


@pytest.mark.parametrize("trusted", [False, True])
def test_what_is_read_is_read_only_bytes(trusted, plain, pool):
    view = attach(plain, pool, trusted=trusted).use(16, 48).read()
    assert (view.readonly, view.format, view.nbytes, view.contiguous) == (True, "B", 48, True)
    assert not np.frombuffer(view, np.uint8).flags.writeable


@pytest.mark.parametrize("trusted", [False, True])
def test_the_file_may_be_longer_than_the_region(trusted, plain, pool):
    region = attach(plain, pool, size=1000, trusted=trusted)
    assert region.use(0, 1000).read() == pixels()[:1000]
    with pytest.raises(RegionError, match="1000 bytes"):
        region.use(1, 1000)


def test_the_copying_way_without_preadv(plain, pool, monkeypatch):
    monkeypatch.delattr(os, "preadv", raising=False)
    region = attach(plain, pool)
    results = []

    def read(start):
        ranges = [slice(offset, offset + 1000) for offset in range(start, start + 50_000, 1000)]
        results.extend(region.use(part.start, 1000).read() == pixels()[part] for part in ranges)

    threads = [threading.Thread(target=read, args=(start,)) for start in (0, 50_000, 100_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 150
    os.truncate(plain, 1000)
    with pytest.raises(RegionError, match="shrunk"):
        region.use(0, 2000).read()


def test_a_file_that_ends_after_it_was_checked_is_an_error(plain):
    file = RegionFile.open(str(plain), SIZE, trusted=False)
    file.check(SIZE)
    os.truncate(plain, 1000)
    with pytest.raises(RegionError, match="shrunk to 1000 bytes"):
        file.read_into(memoryview(bytearray(SIZE)), 0)


@pytest.mark.parametrize(
    ("offset", "size"),
    [(0, SIZE), (SIZE - 1, 1), (SIZE, 0), (0, 0), (4096, SIZE - 4096)],
)
@pytest.mark.parametrize("trusted", [False, True])
def test_ranges_within_the_region(offset, size, trusted, plain, pool):
    region = attach(plain, pool, trusted=trusted)
    assert region.use(offset, size).read() == pixels()[offset : offset + size]


@pytest.mark.parametrize(
    ("offset", "size"),
    [(0, SIZE + 1), (1, SIZE), (SIZE, 1), (SIZE + 1, 0), (2**64 - 1, 2**32 - 1), (2**64 - 1, 1), (-1, 1)],
)
def test_ranges_beyond_the_region(offset, size, plain, pool):
    region = attach(plain, pool)
    with pytest.raises(RegionError, match="do not lie within the region"):
        region.use(offset, size)


# What a host may do to the file


@pytest.mark.parametrize("trusted", [False, True])
def test_a_file_that_has_shrunk(trusted, plain, pool):
    region = attach(plain, pool, trusted=trusted)
    os.truncate(plain, SIZE - 1)
    with pytest.raises(RegionError, match=f"shrunk to {SIZE - 1} bytes"):
        region.use(0, SIZE).read()
    assert region.use(0, SIZE - 1).read() == pixels()[:-1]
    os.truncate(plain, 0)
    with pytest.raises(RegionError, match="shrunk to 0 bytes"):
        region.use(0, 1).read()


@pytest.mark.parametrize("trusted", [False, True])
def test_a_file_that_was_deleted(trusted, plain, pool):
    region = attach(plain, pool, trusted=trusted)
    plain.unlink()
    with pytest.raises(RegionError, match=r"is gone.*until the region is detached"):
        region.use(0, SIZE).read()


@pytest.mark.parametrize("trusted", [False, True])
def test_another_file_under_the_same_name(trusted, plain, pool):
    region = attach(plain, pool, trusted=trusted)
    other = plain.with_name("other")
    other.write_bytes(pixels(seed=1))
    other.replace(plain)
    with pytest.raises(RegionError, match="another file than the one attached"):
        region.use(0, SIZE).read()
    assert attach(plain, pool).use(0, SIZE).read() == pixels(seed=1)


@memory_files
def test_a_descriptor_that_the_host_has_closed(sealed, pool):
    region = attach(sealed.path, pool)
    before = region.use(0, SIZE).read()
    sealed.close()
    with pytest.raises(RegionError, match="is gone"):
        region.use(0, SIZE).read()
    assert before == sealed.data  # what is being read stays


@memory_files
def test_a_descriptor_s_number_that_the_host_has_given_to_another_file(sealed, memory_file, pool):
    region = attach(sealed.path, pool)
    other = memory_file()
    os.dup2(other.descriptor, sealed.descriptor)
    with pytest.raises(RegionError, match="another file"):
        region.use(0, SIZE).read()


CHILD = """
import fcntl, os, sys
descriptor = os.memfd_create("region", os.MFD_ALLOW_SEALING)
os.write(descriptor, bytes(range(256)) * 16)
fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
print(descriptor, flush=True)
sys.stdin.read()
"""


@memory_files
def test_a_descriptor_of_another_process(pool):
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        path = f"/proc/{child.pid}/fd/{int(child.stdout.readline())}"
        region = attach(path, pool, size=4096)
        assert region.mapped
        view = region.use(256, 256).read()
        assert view == bytes(range(256))
    with pytest.raises(RegionError, match="is gone"):
        region.use(0, 1).read()
    assert view == bytes(range(256))
    with pytest.raises(RegionUnreachableError, match="/dev/shm"):
        attach(path, pool, size=4096)


FORBIDDEN = """
import os, sys
from frame_cache.errors import RegionUnreachableError
from frame_cache.shared_memory import SharedRegion
from preprocess.buffers import BufferPool
if os.getuid() == 0:
    os.setgroups([])
    os.setgid({nobody})
    os.setuid({nobody})
try:
    SharedRegion.open(sys.argv[1], 1, False, BufferPool(0))
except RegionUnreachableError as error:
    print(error)
"""


@memory_files
def test_a_descriptor_of_another_user_s_process(sealed):
    path = sealed.path if os.getuid() == 0 else "/proc/1/fd/0"
    script = FORBIDDEN.format(nobody=NOBODY)
    done = subprocess.run(
        [sys.executable, "-c", script, path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "cannot be reached: Permission denied" in done.stdout
    assert done.stdout.count("\n") == 1


TRUNCATING = """
import os, sys, threading, time
from frame_cache.errors import RegionError
from frame_cache.shared_memory import SharedRegion
from preprocess.buffers import BufferPool
path, size = sys.argv[1], 1 << 20
with open(path, "wb") as file:
    file.write(b"\\x07" * size)
region = SharedRegion.open(path, size, False, BufferPool(8 << 20))
outcomes = {True: 0, False: 0}
ended = time.monotonic() + 1.5
def read():
    while time.monotonic() < ended:
        try:
            bytes(region.use(0, size).read())
            outcomes[True] += 1
        except RegionError:
            outcomes[False] += 1
readers = [threading.Thread(target=read) for _ in range(2)]
for reader in readers:
    reader.start()
while time.monotonic() < ended:
    os.truncate(path, 0)
    time.sleep(0.0005)
    os.truncate(path, size)
    time.sleep(0.0005)
for reader in readers:
    reader.join()
print(outcomes[True], outcomes[False])
"""


def test_truncating_a_file_that_is_being_read_never_ends_the_process(tmp_path):
    command = [sys.executable, "-c", TRUNCATING, str(tmp_path / "region")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    pictures, errors = map(int, done.stdout.split())
    assert pictures > 0
    assert errors > 0


# What is no region


def test_a_file_that_is_not_there(tmp_path, pool):
    with pytest.raises(RegionError, match="No such file or directory; create it") as caught:
        attach(tmp_path / "none", pool)
    assert not isinstance(caught.value, RegionUnreachableError)


@proc
@pytest.mark.parametrize("path", ["/proc/self/fd/4000000", "/proc/4194305/fd/3"])
def test_a_descriptor_that_is_not_there(path, pool):
    with pytest.raises(RegionUnreachableError, match="user and pid namespace"):
        attach(path, pool)


def test_a_directory(tmp_path, pool):
    with pytest.raises(RegionError, match="is a directory, not a regular file"):
        attach(tmp_path, pool)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this platform has no named pipes")
def test_a_pipe_is_refused_without_waiting_for_its_other_end(tmp_path, pool):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RegionError, match="is a pipe"):
        attach(tmp_path / "pipe", pool)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this platform has no sockets in the file system")
def test_a_socket(tmp_path, pool):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(RegionError, match="is a socket"):
            attach(tmp_path / "socket", pool)


@pytest.mark.skipif(os.name != "posix", reason="this platform has no device files")
@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null"])
@pytest.mark.parametrize("trusted", [False, True])
def test_a_device(path, trusted, pool):
    with pytest.raises(RegionError, match="is a device"):
        attach(path, pool, trusted=trusted)


@proc
def test_a_descriptor_of_a_pipe(pool):
    ends = os.pipe()
    try:
        with pytest.raises(RegionError, match="is a pipe"):
            attach(f"/proc/{os.getpid()}/fd/{ends[0]}", pool)
    finally:
        for end in ends:
            os.close(end)


@pytest.mark.parametrize("size", [SIZE + 1, 2**62, 2**64 - 1, 2**80])
@pytest.mark.parametrize("trusted", [False, True])
def test_a_file_that_is_too_short(size, trusted, plain, pool):
    with pytest.raises(RegionError, match=f"has {SIZE} bytes, fewer than the region's {size}; enlarge it"):
        attach(plain, pool, size=size, trusted=trusted)


@pytest.mark.parametrize("size", [0, -1])
def test_a_region_without_bytes(size, plain, pool):
    with pytest.raises(RegionError, match="at least 1 byte"):
        attach(plain, pool, size=size)


@memory_files
def test_a_file_with_holes_that_no_memory_could_hold(memory_file, pool):
    size = 2**62
    file = memory_file(seals=fcntl.F_SEAL_SHRINK, length=size)
    with pytest.raises(RegionError, match=r"cannot be mapped.*smaller size"):
        attach(file.path, pool, size=size)


@pytest.mark.parametrize("path", ["", "a\0b", "\ud800", "x" * 100_000, "new\nline"])
def test_a_path_that_is_none(path, pool):
    with pytest.raises(RegionError) as caught:
        attach(path, pool)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_the_file_is_neither_changed_nor_deleted(plain, pool):
    plain.chmod(0o400)
    before = plain.stat()
    region = attach(plain, pool)
    region.use(0, SIZE).read()
    region.retire(Ends())
    after = plain.stat()
    assert (after.st_ino, after.st_nlink, after.st_mtime_ns, after.st_size) == (
        before.st_ino,
        before.st_nlink,
        before.st_mtime_ns,
        before.st_size,
    )


# Users


@pytest.mark.parametrize("trusted", [False, True])
def test_a_region_without_users_is_unused_at_once(trusted, plain, pool):
    region = attach(plain, pool, trusted=trusted)
    region.use(0, SIZE).read()
    ends = Ends()
    region.retire(ends)
    assert ends.count == 1
    with pytest.raises(RegionError, match="detached"):
        region.use(0, 1)
    with pytest.raises(RegionError, match="detached"):
        region.retire(ends)
    del region
    assert ends.count == 1


def test_a_use_that_was_never_read_keeps_the_region(plain, pool):
    region = attach(plain, pool)
    use = region.use(0, SIZE)
    ends = Ends()
    region.retire(ends)
    assert ends.count == 0
    assert use.read() == pixels()  # a user from before is still served
    del use
    assert ends.count == 1


HOLDERS = {
    "memoryview": lambda view: view,
    "slice": lambda view: view[100:200],
    "cast": lambda view: view.cast("I"),
    "frombuffer": lambda view: np.frombuffer(view, np.uint8),
    "frombuffer of a slice": lambda view: np.frombuffer(view[64:], np.float32, 10),
    "asarray": np.asarray,
    "reshape": lambda view: np.frombuffer(view, np.uint8).reshape(64, -1)[3:5].T,
    "memoryview of an array": lambda view: memoryview(np.frombuffer(view, np.uint8)[7:]),
}


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS.keys())
def test_any_view_in_place_keeps_the_region(hold, plain, pool):
    region = attach(plain, pool, trusted=True)
    held = hold(region.use(0, SIZE).read())
    ends = Ends()
    region.retire(ends)
    del region
    gc.collect()
    assert ends.count == 0
    np.asarray(held).sum()  # the memory is still there
    del held
    assert ends.count == 1


def test_a_copy_does_not_keep_the_region(plain, pool):
    region = attach(plain, pool)
    copy = region.use(0, SIZE).read()
    ends = Ends()
    region.retire(ends)
    assert ends.count == 1
    assert copy == pixels()


def test_the_last_of_many_users_in_many_threads_ends_the_region_once(plain, pool):
    for _ in range(30):
        region = attach(plain, pool, trusted=True)
        uses = [[region.use(0, 1000) for _ in range(50)] for _ in range(4)]
        started = threading.Barrier(5)

        def end(mine, started=started):
            started.wait()
            while mine:
                mine.pop().read()

        threads = [threading.Thread(target=end, args=(mine,)) for mine in uses]
        for thread in threads:
            thread.start()
        ends = Ends()
        started.wait()
        region.retire(ends)
        for thread in threads:
            thread.join()
        assert ends.count == 1


def test_the_garbage_collector_may_end_the_last_user(plain, pool):
    region = attach(plain, pool, trusted=True)
    cycle = {"view": region.use(0, SIZE).read()}
    cycle["self"] = cycle
    ends = Ends()
    region.retire(ends)
    del cycle
    gc.collect()
    assert ends.count == 1


# What a region costs


@memory_files
@pytest.mark.parametrize("kind", ["mapped", "copied"])
def test_descriptors_come_back(kind, memory_file, pool):
    file = memory_file(seals=fcntl.F_SEAL_SHRINK if kind == "mapped" else None)
    before = open_descriptors()
    regions = [attach(file.path, pool) for _ in range(50)]
    assert open_descriptors() == before + 50  # one a region
    for region in regions:
        region.use(0, SIZE).read()
        region.retire(Ends())
    assert open_descriptors() == before
    regions = [attach(file.path, pool) for _ in range(50)]
    del regions, region
    assert open_descriptors() == before  # and where nobody retired it


@proc
def test_failures_leave_no_descriptor(plain, pool):
    before = open_descriptors()
    for _ in range(100):
        with pytest.raises(RegionError):
            attach(plain, pool, size=SIZE + 1)
    assert open_descriptors() == before


@proc
@pytest.mark.parametrize("spare", [0, 1])
def test_too_many_open_files(spare, plain, pool):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    before = open_descriptors()
    # With one to spare the file can be opened, but its mapping finds no descriptor.
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + spare, limits[1]))
    try:
        with pytest.raises(RegionError, match="Too many open files; detach other regions"):
            attach(plain, pool, trusted=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert open_descriptors() == before


@proc
@pytest.mark.parametrize("trusted", [False, True])
def test_memory_stays_as_it_is_over_many_readings(trusted, plain, pool):
    region = attach(plain, pool, trusted=trusted)
    for _ in range(500):
        region.use(0, SIZE).read()
    before = resident_bytes()
    for _ in range(10_000):
        region.use(0, SIZE).read()
    assert resident_bytes() - before < 2 << 20


@memory_files
def test_a_mapping_goes_with_the_region(sealed, pool):
    region = attach(sealed.path, pool)
    view = region.use(0, SIZE).read()
    assert "memfd:region" in Path("/proc/self/maps").read_text()
    region.retire(Ends())
    assert "memfd:region" in Path("/proc/self/maps").read_text()
    del view
    assert "memfd:region" not in Path("/proc/self/maps").read_text()
