"""`tune`: models whose best settings are known, failures, Ctrl-C, and how the best is told from noise."""

import asyncio
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cli.command_line import COLUMNS, COMMAND, ENVIRONMENT, ROOT, SCENES, on_terminal, piped, shown

from worker.cli.tune_candidates import Candidate, Space
from worker.cli.tune_choice import Result, Round, best
from worker.cli.tune_report import results_table, verdicts
from worker.client import WorkerClient

FOR_LANES = "fake:sleep?size=64&ms=10&batch=1"
"""Gains from predict threads, and takes no batches."""
FOR_BATCHES = "fake:sleep?size=64&ms=20&batch=8"
"""Eight items take as long as one."""
SLOW = "fake:sleep?size=64&ms=100&batch=1"
"""So slow that what the machine does beside is less than a tie."""
QUICK = ("--quick", "--seconds", 0.1)


async def ready(fragment: dict) -> dict:
    """Return what a worker answers to a handshake with this in it."""
    async with await WorkerClient.spawn({"protocol": 3, **fragment}) as worker:
        return worker.ready


def accepted(fragment: dict) -> None:
    """Check that a worker takes a fragment as it is."""
    answer = asyncio.run(ready(fragment))
    assert answer["warnings"] == []
    assert (answer["models"], answer["total"]) == (1, 1)
    assert answer["workers"] == fragment["concurrency"]


def test_predict_threads_are_found_and_the_fragment_alone_goes_into_a_pipe():
    done = piped("tune", "--model", FOR_LANES, *QUICK)

    assert done.returncode == 0, done.stderr
    fragment = json.loads(done.stdout)
    assert fragment["concurrency"] > 1
    assert (fragment["batch_mode"], fragment["max_batch_size"]) == ("none", 1)
    assert fragment["models"] == [{"path": FOR_LANES, "runtime": "fake", "spinning": False}]
    assert "times the requests of the default" in " ".join(done.stderr.split())
    assert "\x1b" not in done.stderr
    assert "█" not in done.stderr
    accepted(fragment)


def test_batches_are_found_and_all_results_told(tmp_path):
    out = tmp_path / "fragment.json"
    done = piped("tune", "--model", FOR_BATCHES, *QUICK, "--json", "--out", out, "--in-flight", 16)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    fragment = json.loads(out.read_text())
    assert report["finished"]
    assert report["best"]["throughput"] == fragment
    assert (fragment["batch_mode"], fragment["max_batch_size"]) == ("adaptive", 8)
    rates = {
        (result["concurrency"], result["max_batch_size"]): result["requestsPerSecond"]
        for result in report["results"]
    }
    assert rates[1, 8] > 3 * rates[1, 1]
    assert all(len(result["rounds"]) >= 2 for result in report["results"])
    accepted(fragment)


def test_the_default_model_on_a_picture_of_mine():
    picture = min(SCENES.glob("*.jpg"))
    done = piped("tune", *QUICK, "--image", picture, "--in-flight", 4, "--json")

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["runtime"], report["device"]) == ("onnxruntime", "cpu")
    assert report["picture"] == picture.name
    assert all(result["p99Ms"] >= result["p50Ms"] > 0 for result in report["results"])
    accepted(report["best"]["latency"])


def test_the_best_for_latency_when_it_is_asked_for(tmp_path_factory):
    out = tmp_path_factory.mktemp("t") / "f.json"  # a short path: none is broken to fit a line
    status, written = on_terminal("tune", "--model", SLOW, *QUICK, "--for", "latency", "--out", str(out))

    assert status == 0, written
    assert json.loads(out.read_text())["concurrency"] == 1
    kept = shown(written)
    assert max(map(len, kept)) <= COLUMNS
    assert "█" in written
    assert not any("█" in line for line in kept)
    assert [line.split()[-1] for line in kept if " none " in line] == ["latency", "throughput"]
    assert "→ latency: nothing is better than the default" in kept


@pytest.mark.parametrize(
    ("words", "status", "what"),
    [
        (["--model", "none.onnx"], 1, "no such file: none.onnx"),
        (["--model", "README.md", "--runtime", "onnxruntime"], 1, "README.md is not"),
        (["--model", "m.xml"], 1, "no such file: m.xml"),
        (["--runtime", "steam"], 1, "expected one of auto"),
        (["--model", "fake:fail?size=64"], 1, "fake:fail fails every time"),
        (["--image", "README.md"], 1, "not a JPEG, PNG or WebP picture"),
        (["--image", "none.jpg"], 1, "the picture none.jpg cannot be sent"),
        (["--out", "missing/fragment.json"], 1, "missing/fragment.json cannot be used"),
        (["--seconds", "0"], 2, "expected seconds"),
        (["--seconds", "nan"], 2, "expected seconds"),
        (["--in-flight", "257"], 2, "expected a number from 1 to 256"),
        (["--for", "fun"], 2, "invalid choice: 'fun'"),
    ],
)
def test_failures_say_what_and_what_to_do(words, status, what):
    done = piped("tune", *words)

    assert done.returncode == status
    assert done.stdout == ""
    told = " ".join(done.stderr.split())
    assert told.startswith("error: ")
    assert what in told
    assert " next: " in told
    assert "Traceback" not in told


def test_a_library_that_is_missing(tmp_path):
    """A package of that name that cannot be imported comes first on the path of all processes."""
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('broken on purpose')")
    done = piped("tune", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert "broken on purpose" in " ".join(done.stderr.split())
    assert "next:  pip install 'inferpipe[onnx]'" in done.stderr


def test_a_worker_that_is_killed_fails_its_configuration_alone():
    done = after_killing(1)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["concurrency"] > 1
    assert "✗ concurrency 1: the worker " in done.stderr
    assert [line.split()[-1] for line in done.stderr.splitlines() if " none " in line] == ["failed", "both"]
    assert "the default fails" in done.stderr
    assert "Traceback" not in done.stderr


def test_workers_that_are_all_killed():
    done = after_killing(2)

    assert done.returncode == 1
    assert done.stdout == ""
    assert "error: no configuration works" in done.stderr
    assert "next: " in done.stderr


def after_killing(count: int) -> subprocess.CompletedProcess[str]:
    """Tune two configurations, kill the first so many workers that measure, and return how it ended."""
    process = subprocess.Popen(
        [*COMMAND, "tune", "--model", FOR_LANES, *map(str, QUICK)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    assert process.stderr is not None
    told = ""
    while "measuring" not in told:
        line = process.stderr.readline()
        assert line, told
        told += line
    killed: list[int] = []
    for _ in range(count):
        killed.append(next_child(process.pid, killed))
        os.kill(killed[-1], signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, told + stderr)


def next_child(parent: int, known: list[int]) -> int:
    """Wait for a process's child that is not known yet, and return its id."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    for _ in range(2000):
        if found := [child for child in map(int, children.read_text().split()) if child not in known]:
            return found[0]
        time.sleep(0.01)
    raise AssertionError("no child")


def test_a_person_interrupts_and_sees_what_was_measured():
    status, written = on_terminal(
        "tune", "--model", FOR_LANES, "--seconds", "0.2", keys=b"\x03", keys_after=b"  2/6  "
    )

    assert status == 130, written
    kept = shown(written)
    assert len([line for line in kept if " none " in line]) == 2
    assert "note: not finished: nothing is chosen yet" in kept
    assert kept[-2] == "interrupted"
    assert '"concurrency"' not in written
    assert "Traceback" not in written


@pytest.mark.parametrize(
    ("space", "pools"),
    [
        (Space(cores=1, on_cpu=True, batch_limit=1), [(1, None)]),
        (Space(cores=2, on_cpu=True, batch_limit=1), [(1, None), (1, 1), (2, None)]),
        (
            Space(cores=6, on_cpu=True, batch_limit=1),
            [(1, None), (1, 1), (1, 2), (1, 4), (2, None), (2, 1), (2, 2), (4, None), (6, None)],
        ),
        (Space(cores=6, on_cpu=True, batch_limit=1, quick=True), [(1, None), (1, 1), (6, None)]),
        (Space(cores=1, on_cpu=False, batch_limit=1), [(1, None), (2, None)]),
    ],
)
def test_pools_and_native_threads_that_are_tried(space, pools):
    assert [(one.concurrency, one.intra_threads) for one in space.pools()] == pools


def test_no_machine_makes_the_search_endless():
    space = Space(cores=256, on_cpu=True, batch_limit=4096)
    assert len(space.pools()) < 40
    assert max(one.concurrency for one in space.pools()) == 8
    assert all(one.concurrency * one.native_threads(256) <= 256 for one in space.pools())
    assert [one.max_batch_size for one in space.batched(Candidate())] == [2, 4, 8]


def test_what_has_no_variants():
    space = Space(cores=4, on_cpu=True, batch_limit=3)
    assert [one.max_batch_size for one in space.batched(Candidate(2))] == [2, 3]
    assert space.batched(Candidate(4)) == []
    assert space.spinning(Candidate(1, 2)) == [Candidate(1, 2, spinning=True)]
    assert space.spinning(Candidate(4)) == []  # one native thread each


def result(candidate: Candidate, rates: list[float], alone: float = 10.0, cpu: float | None = 1.0) -> Result:
    """Return a configuration that was measured so."""
    return Result(candidate, [Round(rate, 20.0, 30.0, alone, cpu, cpu, 100.0) for rate in rates])


SIMPLE, BUSY = Candidate(), Candidate(2, spinning=True, max_batch_size=8)


@pytest.mark.parametrize(
    ("simple", "busy", "chosen"),
    [
        ([100, 100, 100], [150, 150, 150], BUSY),
        ([100, 100, 100], [102, 102, 102], SIMPLE),  # a tie
        ([90, 100, 115], [95, 110, 125], SIMPLE),  # noise
        ([100, 101, 99], [150, 152, 20], BUSY),  # one slow moment condemns nothing
        ([100, 100, 10], [150, 150, 150], BUSY),
    ],
)
def test_nothing_is_called_better_that_may_be_noise(simple, busy, chosen):
    results = [result(BUSY, busy), result(SIMPLE, simple)]
    assert best(results, "throughput", 4).candidate == chosen


def test_of_equally_quick_ones_that_with_less_cpu():
    hungry, frugal = result(SIMPLE, [100] * 3, cpu=2.0), result(BUSY, [100] * 3, cpu=1.0)
    assert best([hungry, frugal], "latency", 4) is frugal
    untold = [result(BUSY, [100] * 3, cpu=None), result(SIMPLE, [100] * 3, cpu=None)]
    assert best(untold, "latency", 4) is untold[1]


def test_what_fails_is_not_chosen():
    failed = Result(BUSY, result(BUSY, [900] * 3).rounds, failure="it ended")
    simple = result(SIMPLE, [100] * 3)
    assert best([failed, simple], "throughput", 4) is simple
    assert best([failed], "throughput", 4) is None


def test_the_table_fits_where_every_figure_is_long(monkeypatch):
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    default = result(SIMPLE, [123.4] * 3)
    quick = result(BUSY, [98765.4] * 3, alone=1234.5)
    chosen = {"latency": default, "throughput": quick}
    lines = [*results_table([default, quick], chosen).splitlines(), *verdicts(chosen, default)]
    assert max(map(len, lines)) <= COLUMNS
    assert lines[2].endswith("latency")
    assert lines[3].endswith("throughput")
    assert lines[-1] == "throughput: 800.4 times the requests of the default, cores 1.0 (1.0)"
