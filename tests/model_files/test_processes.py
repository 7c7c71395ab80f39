"""One cache and many processes: one transfer, and nothing broken by those that are killed."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_files.errors import CacheError

ROOT = Path(__file__).resolve().parents[2]
SIZE = 4 << 20
CONTENT = hashlib.shake_256(b"a model").digest(SIZE)
CHUNKS = SIZE // (64 << 10)

ASK = """
import os, resource, sys
from pathlib import Path
from folder_source import EnvironmentSource
from model_files.base import ModelRef
from model_files.download import TransferLimits
from model_files.errors import ModelFileError
from model_files.remote import RemoteFiles
from model_files.store import Store

if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
store = Store(Path(sys.argv[1]), 1 << 30)
provider = RemoteFiles("double", EnvironmentSource(None), store, TransferLimits(1 << 30, 5.0))
print("asks", flush=True)
sys.stdin.readline()
try:
    files = provider.local_files(ModelRef("double://owner/name/m.tflite"))
except ModelFileError as error:
    sys.exit(f"{type(error).__name__}: {error}")
print(files.path, flush=True)
"""


@pytest.fixture
def served(tmp_path: Path) -> Path:
    folder = tmp_path / "served" / "owner" / "name"
    folder.mkdir(parents=True)
    (folder / "m.tflite").write_bytes(CONTENT)
    return tmp_path / "served"


class Asker:
    """A process that asks for the file when it is told to."""

    def __init__(self, cache: Path, served: Path, *, delay_s: float = 0.0, file_limit: int | None = None):
        self.counted = cache.parent / "counted"
        environment = os.environ | {
            "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
            "DOUBLE_ROOT": str(served),
            "DOUBLE_COUNT": str(self.counted),
            "DOUBLE_DELAY_S": str(delay_s),
        }
        limit = [] if file_limit is None else [str(file_limit)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", ASK, str(cache), *limit],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "asks\n", self.process.communicate()[1]

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def result(self) -> tuple[str, str]:
        output, errors = self.process.communicate(timeout=60)
        return output.strip(), errors.strip()


@pytest.fixture
def askers() -> Iterator[list[Asker]]:
    """Ends what a test leaves running."""
    made: list[Asker] = []
    yield made
    for asker in made:
        asker.process.kill()
        asker.process.communicate()


def wait_for_bytes(cache: Path, count: int) -> None:
    """Wait until so much of the transfer is on the disk."""
    ends = time.monotonic() + 30
    while sum(path.stat().st_size for path in cache.glob("partial/*.part")) < count:
        assert time.monotonic() < ends
        time.sleep(0.002)


def test_eight_processes_that_ask_for_the_same_file_fetch_it_once(
    tmp_path: Path, served: Path, askers: list[Asker]
) -> None:
    cache = tmp_path / "cache"
    askers += [Asker(cache, served, delay_s=0.005) for _ in range(8)]
    for asker in askers:
        asker.go()
    results = [asker.result() for asker in askers]
    assert {errors for _, errors in results} == {""}
    assert len({path for path, _ in results}) == 1
    assert Path(results[0][0]).read_bytes() == CONTENT
    assert askers[0].counted.read_text().splitlines() == ["m.tflite"]


def test_one_that_is_killed_leaves_nothing_partial_and_the_next_goes_on(
    tmp_path: Path, served: Path, askers: list[Asker]
) -> None:
    cache = tmp_path / "cache"
    for part in (1, 2, 3):
        asker = Asker(cache, served, delay_s=0.01)
        askers.append(asker)
        asker.go()
        wait_for_bytes(cache, SIZE * part // 4)
        asker.process.send_signal(signal.SIGKILL)
        asker.process.wait()
        assert not list(cache.glob("blobs/*"))
        assert not list(cache.glob("trees/*"))
    last = Asker(cache, served)
    askers.append(last)
    last.go()
    path, errors = last.result()
    assert not errors
    assert Path(path).read_bytes() == CONTENT
    assert not list(cache.glob("partial/*"))


def test_one_that_waits_takes_over_from_one_that_is_killed(
    tmp_path: Path, served: Path, askers: list[Asker]
) -> None:
    cache = tmp_path / "cache"
    askers += [Asker(cache, served, delay_s=0.02), Asker(cache, served)]
    askers[0].go()
    wait_for_bytes(cache, 1)
    askers[1].go()
    time.sleep(0.2)  # it waits for the lock, which nothing shows from outside
    askers[0].process.kill()
    path, errors = askers[1].result()
    assert not errors
    assert Path(path).read_bytes() == CONTENT


KILLED_AT = """
import os, signal, sys
calls = 0
def counted(event, arguments):
    global calls
    if event in ("os.rename", "os.link", "os.remove", "os.mkdir") or (
        event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR) and sys.argv[1] in str(arguments[0])
    ):
        calls += 1
        if calls == int(os.environ["KILLED_AT"]):
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(counted)
"""


def run_killed_at(call: int, cache: Path, served: Path) -> int:
    """Run a whole transfer that is killed just before one of its changes to the disk."""
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
        "DOUBLE_ROOT": str(served),
        "KILLED_AT": str(call),
    }
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT + ASK, str(cache)],
        input="\n",
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode


def test_killed_before_any_change_to_the_disk(tmp_path: Path, served: Path) -> None:
    """Whatever a killed process leaves, the next one ends well, and with the right content."""
    (served / "owner/name/m.tflite").write_bytes(CONTENT[: 64 << 10])
    call = 0
    while True:
        call += 1
        assert call < 200
        cache = tmp_path / f"cache-{call}"
        status = run_killed_at(call, cache, served)
        for blob in cache.glob("blobs/*"):
            if len(blob.name) == 64:
                assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
        for file in cache.glob("trees/[0-9a-f]*/**/*.tflite"):
            assert file.read_bytes() == CONTENT[: 64 << 10]
        if status == 0:
            break
        assert run_killed_at(10**6, cache, served) == 0
        (found,) = cache.glob("trees/[0-9a-f]*/m.tflite")
        assert found.read_bytes() == CONTENT[: 64 << 10]
        assert not list(cache.glob("partial/*.part"))
    assert call > 10


def test_a_disk_that_is_full(tmp_path: Path, served: Path, askers: list[Asker]) -> None:
    """A limit on the size of files stands for it: the system refuses the write in the same way."""
    cache = tmp_path / "cache"
    asker = Asker(cache, served, file_limit=SIZE // 2)
    askers.append(asker)
    asker.go()
    path, errors = asker.result()
    assert not path
    assert errors.startswith(f"{CacheError.__name__}: no room in the cache of models {cache}")
    assert not [path for kind in ("partial", "blobs", "entries") for path in cache.glob(f"{kind}/*")]
