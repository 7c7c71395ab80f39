"""`python -m bench.model_cache`: a large file of a model cache into the worker, against a bare client.

The server is the one of hosts/rust/model-cache, on loopback. Sides, in alternation, each a fresh process:

- the worker: a `load` whose main file is the large one. A companion that it needs is not there, so that the
  load ends with the transfer and no runtime takes memory. gRPC has been imported by an earlier one, which
  counts as growth and not as time;
- a bare grpcio client that digests every chunk and writes it to a file, in gRPC's own settings;
- the same, which makes sure in the end that the file is on the disk, as the worker does.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from bench.intervals import Interval, median_interval
from bench.link import Link, SubjectEndedError, command_packet
from bench.machine import this_machine, today, versions
from bench.procfs import cpu_seconds, peak_megabytes, resident_megabytes
from bench.rounds import alternate
from protos.generated.model_management_pb2 import ModelFileChunk, ModelFileRequest

RUST = Path(__file__).resolve().parent.parent / "hosts" / "rust"
WORKER = (sys.executable, "-m", "worker")

METHOD = "/ml.ModelManagementService/GetModelFile"
MODEL, SMALL_MODEL, FILE = "bench/large", "bench/small", "weights.xml"
"""The runtime that takes .xml files needs a .bin beside them."""

TARGET_SHARE, TARGET_GROWTH_MB = 0.8, 64 * 1.048576
"""Of the bare client's throughput at least; of resident memory, in 10^6 bytes, less than."""

SERVING = {"path": "fake:noop?size=32", "runtime": "fake"}
"""A worker that serves has loaded what it needs for pictures: a transfer is to add little to that."""

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Run:
    """One transfer."""

    seconds: float
    cpu_seconds: float
    grown_mb: float
    """Peak of resident memory above what was resident before, in 10^6 bytes."""


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured, and under which circumstances."""

    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    bytes: int
    worker: list[Run]
    bare: list[Run]
    bare_durable: list[Run]

    def share_of(self, rivals: Sequence[Run]) -> Interval:
        """Return the worker's throughput as a share of a rival's, by rounds."""
        pairs = zip(self.worker, rivals, strict=True)
        return median_interval([theirs.seconds / mine.seconds for mine, theirs in pairs])

    @property
    def growth_mb(self) -> float:
        """The most that any worker grew."""
        return max(run.grown_mb for run in self.worker)


def main(words: Sequence[str] | None = None) -> int:
    """Measure, and say how it went; returns 0: a missed target is a result, not a failure."""
    arguments = _parser().parse_args(words)
    if arguments.bare:
        target, out = arguments.bare
        print(json.dumps(asdict(_bare(target, Path(out), durable=arguments.durable))))
        return 0
    result = _measure(arguments.mebibytes << 20, arguments.rounds, arguments.server or _built())
    print(markdown(result))
    if arguments.out:
        arguments.out.write_text(json.dumps(asdict(result), indent=1) + "\n")
        arguments.out.with_suffix(".md").write_text(markdown(result) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.model_cache", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--mebibytes", type=int, default=1024, metavar="N", help="size of the file (1024)")
    parser.add_argument("--rounds", type=int, default=6, metavar="N", help="transfers a side (6)")
    parser.add_argument("--server", type=Path, metavar="PROGRAM", help="a built one; else cargo builds it")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="and FILE.md beside it")
    parser.add_argument("--bare", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--durable", action="store_true", help=argparse.SUPPRESS)
    return parser


def markdown(result: Result) -> str:
    """Return the result as a table for a person."""
    sides = {"worker": result.worker, "bare": result.bare, "bare, to the disk": result.bare_durable}
    lines = [
        f"{result.bytes >> 20} MiB from a model cache on loopback, {len(result.worker)} rounds in turn."
        f" {result.date}, {result.machine['cpu']}, {result.machine['cores']} cores,"
        f" load {result.machine['load']}",
        "",
        "| side | MiB/s | CPU s | memory +MB, most |",
        "|---|---|---|---|",
        *(
            f"| {name} | {_rate(result, runs)} | {_cpu(runs)} | {_grown(runs)} |"
            for name, runs in sides.items()
        ),
        "",
        f"- throughput of bare: {_shown(result.share_of(result.bare))} (target {TARGET_SHARE})",
        f"- of bare to the disk: {_shown(result.share_of(result.bare_durable))}",
        f"- growth of the worker: {result.growth_mb:.0f} MB (target below {TARGET_GROWTH_MB:.0f})",
    ]
    return "\n".join(lines)


def _rate(result: Result, runs: Sequence[Run]) -> str:
    return f"{median_interval([result.bytes / 2**20 / run.seconds for run in runs]).median:.0f}"


def _cpu(runs: Sequence[Run]) -> str:
    return f"{median_interval([run.cpu_seconds for run in runs]).median:.2f}"


def _grown(runs: Sequence[Run]) -> str:
    return f"{max(run.grown_mb for run in runs):.0f}"


def _shown(interval: Interval) -> str:
    return f"{interval.median:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _measure(size: int, rounds: int, server: Path) -> Result:
    with tempfile.TemporaryDirectory(prefix="inferpipe-bench-") as name:
        folder = Path(name)
        _make_file(folder / "root" / MODEL / FILE, size)
        _make_file(folder / "root" / SMALL_MODEL / FILE, 1)
        with _serving(server, folder / "root") as target:
            scratch = folder / "scratch"
            sides = (
                partial(_worker_run, target, scratch),
                partial(_bare_run, target, scratch),
                partial(_bare_run, target, scratch, "--durable"),
            )
            worker, bare, bare_durable = alternate(sides, rounds, _tell)
    return Result(today(), asdict(this_machine()), versions(), size, worker, bare, bare_durable)


def _tell(what: str, share: float) -> None:
    print(what, file=sys.stderr)


def _worker_run(target: str, scratch: Path) -> Run:
    scratch.mkdir()
    link = Link(WORKER)
    try:
        provider = {"cacheDir": str(scratch), "modelcache": {"target": target}}
        link.shake_hands({"protocol": 3, "runtime": "auto", "models": [SERVING], "provider": provider})
        pid = link.process.pid
        resident = resident_megabytes(pid)  # before gRPC is imported
        _load(link, SMALL_MODEL)
        cpu, began = cpu_seconds(pid), time.perf_counter()
        _load(link, MODEL)
        seconds = time.perf_counter() - began
        return Run(seconds, cpu_seconds(pid) - cpu, peak_megabytes(pid) - resident)
    finally:
        link.close()
        shutil.rmtree(scratch)


def _load(link: Link, model: str) -> None:
    """Have the worker fetch a model's file, and not find the other one that it needs."""
    load = {"cmd": "load", "index": 1, "config": {"path": f"modelcache://{model}/{FILE}"}}
    link.send([command_packet(1, load)])
    error = str(link.one_answer().get("error"))
    # The last thing that a load asks for: what came before it is there.
    if f"{model}/{FILE.replace('.xml', '.bin')}: the model cache has no such file" not in error:
        raise SubjectEndedError(f"the load ended otherwise than it should: {error}")


def _bare_run(target: str, scratch: Path, *options: str) -> Run:
    scratch.mkdir()
    try:
        command = [sys.executable, "-m", __spec__.name, *options, "--bare", target, str(scratch / "file")]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        return Run(**json.loads(done.stdout))
    finally:
        shutil.rmtree(scratch)


def _bare(target: str, out: Path, *, durable: bool) -> Run:
    """Do what the worker does at the least: receive, digest, write."""
    pid, digest = os.getpid(), hashlib.sha256()
    resident, cpu, began = resident_megabytes(pid), cpu_seconds(pid), time.perf_counter()
    with grpc.insecure_channel(target) as channel, out.open("wb") as file:
        get_file = channel.unary_stream(METHOD, ModelFileRequest.SerializeToString, ModelFileChunk.FromString)
        for chunk in get_file(ModelFileRequest(model_id=MODEL, file_path=FILE)):
            data = chunk.data
            digest.update(data)
            file.write(data)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    seconds = time.perf_counter() - began
    return Run(seconds, cpu_seconds(pid) - cpu, peak_megabytes(pid) - resident)


def _make_file(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        for begin in range(0, size, _BLOCK):
            file.write(os.urandom(min(_BLOCK, size - begin)))


def _built() -> Path:
    """Build the server, and return where it is."""
    command = ["cargo", "build", "--quiet", "--release", "--package", "model-cache"]
    subprocess.run(command, cwd=RUST, check=True)
    return RUST / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "model-cache"


@contextmanager
def _serving(server: Path, root: Path) -> Iterator[str]:
    """Give the target of a server over a folder."""
    command = [str(server), "--root", str(root), "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    sys.exit(main())
