"""How a worker ends: by the end of its input, by signals, by a host that is gone; what is still answered."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from raw_host import ROOT, WORKER
from wire import (
    CACHE_FRAME,
    COMMAND,
    INFER_BATCH,
    INFER_RAW,
    RGB,
    any_item,
    any_raw,
    batch,
    cache,
    packet,
    pixels,
)

NOOP = {"path": "fake:noop?size=32"}
SLEEP = {"path": "fake:sleep?size=32&ms=200"}
HANG = {"path": "fake:hang?size=32"}
SOON_S = 15.0
"""What ought to take 2 s at most, on a machine that may be busy with something else."""


def config(*models: dict, **more) -> dict:
    return {"protocol": 3, "runtime": "fake", "models": list(models), **more}


def occupy(host, model: int = 0) -> int:
    """Send a request, and give its predict call time to begin."""
    request_id = host.request(INFER_RAW, any_raw(model))
    time.sleep(0.3)
    return request_id


@pytest.mark.parametrize("transport", ["pipe", "socket", "one_socket", "descriptors"])
def test_eof_drains_and_ends_well(spawn, transport):
    host = spawn(config(SLEEP), transport=transport)
    requests = [host.request(INFER_RAW, any_raw()) for _ in range(5)]

    assert host.finish() == 0
    assert all("error" not in host.answer(request_id) for request_id in requests)


def test_eof_right_behind_the_handshake_and_its_requests(spawn):
    host = spawn()
    data = packet(0, COMMAND, json.dumps(config({"path": "fake:slowload?size=32"})).encode())
    host.send(data + b"".join(packet(number, INFER_RAW, any_raw()) for number in range(1, 4)))

    assert host.finish() == 0
    assert host.answer(0)["models"] == 1
    assert all("error" not in host.answer(number) for number in range(1, 4))


def test_eof_with_held_back_requests(spawn):
    """What was sent before the end of the stream is accepted, though a limit kept it from being read."""
    host = spawn(config(SLEEP, limits={"maxInFlight": 1}))
    requests = [host.request(INFER_RAW, any_raw()) for _ in range(5)]

    assert host.finish() == 0
    assert all("error" not in host.answer(request_id) for request_id in requests)


@pytest.mark.parametrize("held", [0, 5], ids=["nothing else", "requests in flight"])
@pytest.mark.parametrize(
    "part", [b"\x10", packet(9, INFER_RAW, any_raw())[:-1], packet(9, INFER_RAW, bytes(100_000))[:-1]]
)
def test_eof_inside_a_packet_drains_and_ends_with_2(spawn, part, held):
    host = spawn(config(SLEEP))
    requests = [host.request(INFER_RAW, any_raw()) for _ in range(held)]
    host.send(part)

    assert host.finish() == 2
    assert all("error" not in host.answer(request_id) for request_id in requests)


@pytest.mark.parametrize("length", [0, 1, 4])
def test_a_length_below_5_loses_the_framing(spawn, length):
    host = spawn(config(SLEEP))
    request = host.request(INFER_RAW, any_raw())
    host.send(length.to_bytes(4, "little") + packet(1, INFER_RAW, any_raw()))

    answer = host.answer(0)
    assert answer["code"] == "bad_request"
    assert "error" not in host.answer(request)
    assert host.wait() == 2  # though the host did not close its end
    assert host.untaken() == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_as_eof_does(spawn, number):
    host = spawn(config(SLEEP))
    requests = [host.request(INFER_RAW, any_raw()) for _ in range(5)]
    host.command("ping")
    host.process.send_signal(number)

    assert host.wait() == 0
    assert all("error" not in host.answer(request_id) for request_id in requests)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(spawn, number):
    host = spawn(config(HANG, limits={"drainTimeoutMs": 600_000}))
    occupy(host)
    host.process.send_signal(number)
    host.wait_stderr("drain")
    assert host.process.poll() is None
    host.process.send_signal(number)

    host.wait(SOON_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_models_load(spawn, number):
    host = spawn()
    slow = {"path": "fake:slowload?size=32&ms=1000"}
    host.send(packet(0, COMMAND, json.dumps(config(slow, limits={"drainTimeoutMs": 60_000})).encode()))
    time.sleep(0.5)
    host.process.send_signal(number)
    assert host.wait() in (0, -number)


def test_what_is_left_at_the_drain_timeout_is_answered_shutting_down(spawn):
    host = spawn(config(HANG, NOOP, limits={"drainTimeoutMs": 300}))
    occupy(host)
    requests = [
        host.request(INFER_RAW, any_raw()),
        host.request(INFER_BATCH, batch(0, [any_item()] * 3)),
        host.request(INFER_RAW, any_raw()),
    ]
    assert host.finish() == 0
    assert {host.answer(request_id)["code"] for request_id in requests} == {"shutting_down"}
    assert sorted(len(answers) for answers in host.untaken().values()) == [1]


def test_v2_hosts_get_their_shapes_at_the_drain_timeout(spawn):
    host = spawn(config(HANG, protocol=2, limits={"drainTimeoutMs": 300}))
    single, several = host.request(INFER_RAW, any_raw()), host.request(INFER_BATCH, batch(0, [any_item()]))
    assert host.finish() == 0
    assert host.answer(single)["detections"] == []
    assert host.answer(several)["results"] == []


@pytest.mark.parametrize("transport", ["pipe", "socket"])
@pytest.mark.parametrize("model", [NOOP, HANG], ids=["idle", "while predict hangs"])
def test_the_end_when_the_host_closes_the_answers(spawn, model, transport):
    host = spawn(reads=False, transport=transport)
    host.send(packet(0, COMMAND, json.dumps(config(model)).encode()))
    host.wait_for_bytes()
    occupy(host)
    host.close_stdout()
    assert host.wait(SOON_S) == 0


def test_the_end_when_the_host_closes_the_answers_while_a_model_loads(spawn):
    host = spawn(reads=False)
    slow = {"path": "fake:slowload?size=32&ms=60000"}
    host.send(packet(0, COMMAND, json.dumps(config(slow)).encode()))
    time.sleep(0.5)
    host.close_stdout()
    assert host.wait(SOON_S) == 0


def test_eof_while_a_model_hangs_in_its_load(spawn):
    host = spawn()
    slow = {"path": "fake:slowload?size=32&ms=60000"}
    host.send(packet(0, COMMAND, json.dumps(config(slow, limits={"drainTimeoutMs": 300})).encode()))
    time.sleep(0.5)
    host.close_stdin()
    assert host.wait(SOON_S) == 0


def test_eof_while_a_load_command_hangs_answers_what_waits(spawn):
    host = spawn(config(limits={"drainTimeoutMs": 300}))
    slow = {"path": "fake:slowload?size=32&ms=60000"}
    load = host.request(COMMAND, {"cmd": "load", "index": 0, "config": slow})
    request = host.request(INFER_RAW, any_raw())
    host.close_stdin()
    assert host.wait(SOON_S) == 0
    assert host.answer(request)["code"] == "shutting_down"
    assert host.answer(load)["code"] == "shutting_down"


INTERMEDIATE = """
    import subprocess, sys, time
    reader, writer = map(int, sys.argv[1:3])
    worker = subprocess.Popen([sys.executable, "-m", "worker"], stdin=reader, stdout=writer)
    time.sleep(600)
"""


@pytest.mark.parametrize("model", [NOOP, HANG], ids=["idle", "while predict hangs"])
def test_the_end_when_the_parent_is_killed_though_the_pipe_stays_open(spawn, model):
    """The pipe's other ends are here, so that nothing but the parent's death can tell."""
    command = [sys.executable, "-c", textwrap.dedent(INTERMEDIATE)]
    host = spawn_below(spawn, command)
    host.shake_hands(config(model))
    occupy(host)
    host.process.send_signal(signal.SIGKILL)
    host.wait_ended(SOON_S)


def spawn_below(spawn, command):
    """Spawn a process that spawns a worker on the pipe of ours, and has no end of it afterwards."""
    shell = 'exec "$@" 3 4 3<&0 4>&1 </dev/null >/dev/null'
    return spawn(command=["sh", "-c", shell, "sh", *command], close_fds=True, pass_fds=())


def test_the_end_when_a_process_that_the_host_named_is_gone(spawn):
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        host = spawn(config(HANG, parentPid=other.pid))
        occupy(host)
        assert host.process.poll() is None
    finally:
        other.kill()
        other.wait()
    assert host.wait(SOON_S) == 0


def test_a_stuck_slot_gives_its_share_back_and_says_so(spawn):
    """STUCK_AFTER_S seconds after its predict call began, another slot goes on."""
    host = spawn(config(HANG, NOOP, limits={"drainTimeoutMs": 300}))
    hanging = occupy(host)
    other = host.request(INFER_RAW, any_raw(1))
    assert host.answer(other)["detections"] == []

    slots = host.command("status")["slots"]
    assert [slot["state"] for slot in slots] == ["stuck", "ready"]
    assert "predict" in slots[0]["reason"]
    assert all("error" not in host.ask(INFER_RAW, any_raw(1)) for _ in range(10))
    assert not host.is_answered(hanging)
    # A new model in the slot serves, whatever hangs in the old one.
    assert host.command("replace", index=0, config=NOOP)["status"] == "ok"
    assert "error" not in host.ask(INFER_RAW, any_raw(0))
    assert host.finish() == 0


PRINTING = """
    import ctypes, os, sys, threading

    libc = ctypes.CDLL(None)

    def print_on():
        while True:
            print("a stray print", flush=True)
            os.write(1, b"a stray write\\n")
            libc.puts(b"a stray puts")
            libc.fflush(None)
            os.system("echo a stray child")
            os.read(0, 100)

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "numpy":
                sys.meta_path.remove(self)
                print("a stray print at import", flush=True)
                threading.Thread(target=print_on, daemon=True).start()

    sys.meta_path.insert(0, Finder())
"""
"""Prints by every way there is, from the first import of a library on."""


@pytest.mark.parametrize("transport", ["pipe", "socket", "descriptors"])
def test_no_stray_print_reaches_the_packets(spawn, tmp_path, transport):
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(PRINTING))
    host = spawn(config(NOOP), transport=transport, env=os.environ | {"PYTHONPATH": str(tmp_path)})
    for _ in range(200):
        assert host.ask(INFER_RAW, any_raw())["detections"] == []
    assert host.finish() == 0
    for words in ("print at import", "a stray print", "a stray write", "a stray puts", "a stray child"):
        assert words in host.stderr


def test_logs_never_block_a_worker_whose_stderr_nobody_reads(spawn):
    reader, writer = os.pipe()
    host = spawn(config(NOOP, zzz=1), stderr=writer)
    os.close(writer)
    try:
        bad = {"path": "fake:noop?size=32", **{f"unknown{number}": 1 for number in range(200)}}
        for _ in range(40):  # a line of log for each key: far more than a pipe holds
            assert host.command("load", index=1, config=bad)["status"] == "ok"
        assert host.finish() == 0
    finally:
        os.close(reader)


def test_a_stderr_that_is_closed_at_the_other_end_does_not_matter(spawn):
    reader, writer = os.pipe()
    host = spawn(config(NOOP), stderr=writer)
    os.close(writer)
    os.close(reader)
    for _ in range(3):
        assert host.command("load", index=1, config=NOOP | {"zzz": 1})["status"] == "ok"
    assert host.finish() == 0


SHELL = ("sh", "-c")
PYTHON = f'"{sys.executable}" -m worker'


@pytest.mark.parametrize("closed", ["2>&-", "0<&- 1>&- 2>&-", "0<&-", "1>&-"])
def test_closed_standard_descriptors_and_the_pipe_elsewhere(spawn, closed):
    command = [*SHELL, f'exec {PYTHON} "$@" {closed}', "sh"]
    host = spawn(config(NOOP), command=command, transport="descriptors")
    assert host.ask(INFER_RAW, any_raw())["detections"] == []
    host.ask(CACHE_FRAME, cache(1, 16, 16, RGB, pixels(16, 16)))
    assert host.finish() == 0


def test_stderr_closed_and_the_pipe_on_the_standard_descriptors(spawn):
    host = spawn(config(NOOP, zzz=1), command=[*SHELL, f"exec {PYTHON} 2>&-"])
    assert host.ask(INFER_RAW, any_raw())["detections"] == []
    assert host.finish() == 0


def test_stdin_closed_from_the_start_is_an_end_before_the_handshake(spawn):
    host = spawn(command=[*SHELL, f"exec {PYTHON} 0<&-"])
    assert host.wait() == 1
    assert "handshake" in host.stderr


def test_stdin_from_the_null_device(spawn):
    host = spawn(command=[*SHELL, f"exec {PYTHON} </dev/null"])
    assert host.wait() == 1
    assert "handshake" in host.stderr


@pytest.mark.parametrize("transport", ["pipe", "one_socket"])
def test_stderr_that_is_stdout_puts_no_log_into_the_packets(spawn, transport):
    host = spawn(config(NOOP, zzz=1), stderr=subprocess.STDOUT, transport=transport)
    assert host.ready["warnings"]
    assert host.command("load", index=1, config=NOOP | {"zzz": 1})["status"] == "ok"
    assert host.ask(INFER_RAW, any_raw(1))["detections"] == []
    assert host.finish() == 0
    assert host.untaken() == {}


def talk() -> tuple[bytes, list[int]]:
    """A whole conversation, and the ids that it must be answered under."""
    data = packet(0, COMMAND, json.dumps(config(SLEEP)).encode())
    data += b"".join(packet(number, INFER_RAW, any_raw()) for number in range(1, 6))
    return data + packet(6, CACHE_FRAME, cache(1, 200, 200, RGB, pixels(200, 200))), list(range(7))


def ids_in(data: bytes) -> list[int]:
    ids = []
    while data:
        length = int.from_bytes(data[:4], "little")
        ids.append(int.from_bytes(data[4:8], "little"))
        assert "error" not in json.loads(data[8 : 4 + length])
        data = data[4 + length :]
    return ids


def test_stdin_and_stdout_may_be_regular_files(tmp_path):
    data, ids = talk()
    (tmp_path / "requests").write_bytes(data)
    with (tmp_path / "requests").open("rb") as source, (tmp_path / "answers").open("wb") as target:
        done = subprocess.run(WORKER, stdin=source, stdout=target, cwd=ROOT, timeout=100, check=False)

    assert done.returncode == 0
    assert sorted(ids_in((tmp_path / "answers").read_bytes())) == ids


def test_a_file_that_ends_inside_a_packet(tmp_path):
    data, _ = talk()
    (tmp_path / "requests").write_bytes(data[:-5])
    with (tmp_path / "requests").open("rb") as source:
        done = subprocess.run(WORKER, stdin=source, capture_output=True, cwd=ROOT, timeout=100, check=False)

    assert done.returncode == 2
    assert sorted(set(ids_without_errors(done.stdout))) == list(range(6))


def ids_without_errors(data: bytes) -> list[int]:
    ids = []
    while data:
        length = int.from_bytes(data[:4], "little")
        if "error" not in json.loads(data[8 : 4 + length]):
            ids.append(int.from_bytes(data[4:8], "little"))
        data = data[4 + length :]
    return ids


@pytest.mark.parametrize(
    "arguments",
    [["--fd-in", "x"], ["--fd-in"], ["--fd-out", "77", "--fd-in", "78"], ["--fd-in", "3", "--nonsense", "1"]],
)
def test_descriptors_that_are_not_there_end_the_process_with_a_message(arguments):
    done = subprocess.run(
        [*WORKER, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=ROOT,
        timeout=100,
        check=False,
    )
    assert done.returncode != 0
    assert done.stdout == b""
    assert b"worker:" in done.stderr
    assert b"Traceback" not in done.stderr


def test_the_hosts_own_ends_of_the_pipe_stay_blocking(spawn):
    """O_NONBLOCK belongs to the description, which a child shares with whoever else inherited it."""
    reader, writer = os.pipe()
    twin = os.dup(reader)
    data, _ = talk()
    worker = subprocess.Popen(WORKER, stdin=reader, stdout=subprocess.PIPE, cwd=ROOT)
    os.close(reader)
    try:
        os.write(writer, data[:1000])
        time.sleep(1.0)
        assert os.get_blocking(twin)
        os.write(writer, data[1000:])
        os.close(writer)
        os.close(twin)
        assert worker.communicate(timeout=100)[0]
    finally:
        worker.kill()
        worker.wait()
