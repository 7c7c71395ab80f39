"""The metrics as Prometheus text, and served to a scraper over a real socket."""

import asyncio
import socket
import sys
import threading
import time
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from protocol.errors import ErrorCode
from worker.histograms import STAGES
from worker.metrics import (
    CacheGauges,
    Gauges,
    InFlightGauges,
    Metrics,
    MetricsSnapshot,
    MetricsUnavailableError,
    QueueDepth,
)
from worker.metrics_server import CONNECTIONS_AT_MOST, MetricsServer
from worker.process_figures import ProcessFigures
from worker.prometheus import CONTENT_TYPE, render
from worker.requests import Timings

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 30

GAUGES = Gauges(
    uptime_ms=90_500.0,
    queues={0: QueueDepth(4, 3, 2, 1), 7: QueueDepth(0, 0, 0, 0)},
    cache=CacheGauges(100, 1000, 2, 5, 1, 3, 7, 4),
    in_flight=InFlightGauges(requests=6, bytes=600, commands=1, streams=2),
    log_lines_dropped=9,
)


class StandIn:
    """A double of an item: what the metrics read of one."""

    def __init__(self, predict_ms=8.0, batch_size=1):
        arrived = time.perf_counter() - 0.04
        self.timings = Timings(
            arrived, arrived + 0.001, arrived + 0.006, arrived + 0.01, 2.0, 3.0, predict_ms, 0.25
        )
        self.batch_size = batch_size


@pytest.fixture
def metrics():
    """Slot 0 has answered two calls of four items and one of one, and slots 0, 7 and none have errors."""
    counted = Metrics()
    counted.answered(0, [StandIn(8.0, 4)] * 4, None)
    for _ in range(4):
        counted.answered(0, [StandIn(40.0, 4)], None)
    counted.answered(0, [StandIn(70_000.0)], None)
    counted.answered(0, [], ErrorCode.OVERLOADED)
    counted.answered(7, [], ErrorCode.MODEL_NOT_LOADED)
    counted.answered(None, [], ErrorCode.BAD_REQUEST)
    return counted


@pytest.fixture
def samples(metrics):
    return Samples(render(metrics.snapshot(GAUGES)))


class Samples:
    """What a Prometheus would read in a text."""

    def __init__(self, text):
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def __call__(self, name, **labels):
        return self.values[f"inferpipe_{name}", frozenset(labels.items())]


def test_requests_and_items_are_counted_by_slot(samples):
    assert samples("requests_total", slot="0", code="ok") == 6
    assert samples("requests_total", slot="0", code="overloaded") == 1
    assert samples("requests_total", slot="7", code="model_not_loaded") == 1
    assert samples("requests_total", slot="", code="bad_request") == 1
    assert samples("items_total", slot="0") == 9
    assert samples("failed_items_total", slot="0") == 0


def test_times_are_histograms_in_seconds(samples):
    predict = {"slot": "0", "stage": "predict"}
    name = "stage_duration_seconds"
    assert samples(f"{name}_bucket", le="0.005", **predict) == 0
    assert samples(f"{name}_bucket", le="0.01", **predict) == 4
    assert samples(f"{name}_bucket", le="0.05", **predict) == 8
    assert samples(f"{name}_bucket", le="60.0", **predict) == 8
    assert samples(f"{name}_bucket", le="+Inf", **predict) == samples(f"{name}_count", **predict) == 9
    assert samples(f"{name}_sum", **predict) == pytest.approx(4 * 0.008 + 4 * 0.04 + 70)


def test_the_whole_way_is_no_stage_that_a_sum_would_count_twice(samples):
    stages = {
        sample.labels["stage"] for sample in samples.families["inferpipe_stage_duration_seconds"].samples
    }
    assert stages == {*STAGES} - {"total"}
    assert samples("item_duration_seconds_count", slot="0") == 9
    assert samples("item_duration_seconds_bucket", slot="0", le="0.03") == 0
    assert samples("item_duration_seconds_sum", slot="0") >= 9 * 0.04


def test_batch_sizes_are_a_histogram_of_calls(samples):
    sizes = [
        samples("predict_batch_size_bucket", slot="0", le=bound) for bound in ("1.0", "2.0", "4.0", "+Inf")
    ]
    assert sizes == [1, 1, 3, 3]
    assert samples("predict_batch_size_sum", slot="0") == 9


def test_gauges_are_passed_on(samples):
    assert [samples(f"queue_{state}_items", slot="0") for state in ("waiting", "preparing", "ready")] == [
        4,
        3,
        2,
    ]
    assert samples("predict_calls_running", slot="0") == 1
    assert samples("uptime_seconds") == 90.5
    assert [samples(f"in_flight_{what}") for what in ("requests", "bytes", "commands", "streams")] == [
        6,
        600,
        1,
        2,
    ]
    cache = ("bytes", "budget_bytes", "frames", "hits_total", "misses_total", "evicted_frames_total")
    assert [samples(f"frame_cache_{what}") for what in cache] == [100, 1000, 2, 5, 1, 3]
    assert [samples(f"frame_cache_tensor_{what}_total") for what in ("hits", "misses")] == [7, 4]
    assert samples("log_lines_dropped_total") == 9
    assert samples("process_cpu_seconds_total") > 0
    assert samples("process_resident_memory_bytes") > 1 << 20


def test_kinds_and_names_follow_the_conventions(samples):
    for name, family in samples.families.items():
        assert name.startswith("inferpipe_")
        assert family.documentation
        names = {sample.name for sample in family.samples}
        assert (family.type == "counter") == all(one.endswith("_total") for one in names), name
        assert (family.type == "histogram") == any(one.endswith("_bucket") for one in names), name


def test_buckets_only_grow(samples):
    for family in samples.families.values():
        series = {}
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                labels = frozenset((key, value) for key, value in sample.labels.items() if key != "le")
                series.setdefault(labels, []).append((float(sample.labels["le"]), sample.value))
        for points in series.values():
            assert points == sorted(points)
            assert [value for _, value in points] == sorted(value for _, value in points)


def test_both_formats_tell_the_same(metrics):
    snapshot = metrics.snapshot(GAUGES)
    fields, samples = snapshot.as_fields(), Samples(render(snapshot))
    by_code = {}
    for sample in samples.families["inferpipe_requests"].samples:
        code = sample.labels["code"]
        by_code[code] = by_code.get(code, 0) + sample.value
    assert by_code == fields["requests"]
    for name, stage in fields["slots"][0]["stages"].items():
        if name != "total":
            assert samples("stage_duration_seconds_count", slot="0", stage=name) == stage["count"]


def test_what_is_not_known_is_left_out():
    silent = MetricsSnapshot(GAUGES, {}, (), ProcessFigures(cpu_seconds=1.5))
    samples = Samples(render(silent))
    process = {name for name in samples.families if name.startswith("inferpipe_process")}
    assert process == {"inferpipe_process_cpu_seconds"}


def test_nothing_is_left_in_the_library_s_own_registry(metrics):
    render(metrics.snapshot(GAUGES))
    assert not [family.name for family in REGISTRY.collect() if family.name.startswith("inferpipe")]


def test_the_reference_has_every_name(samples):
    text = (ROOT / "docs/metrics.md").read_text("utf-8")
    counters = {name + "_total" * (family.type == "counter") for name, family in samples.families.items()}
    assert [name for name in counters if f"`{name}`" not in text] == []


@pytest.fixture
def without_library(monkeypatch):
    """Let the import of the library fail as where it is not installed."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "prometheus_client"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)


@pytest.mark.usefixtures("without_library")
def test_without_the_library_the_error_tells_what_to_install(metrics, loop):
    with pytest.raises(MetricsUnavailableError, match=r"pip install 'inferpipe\[metrics\]'"):
        render(metrics.snapshot(GAUGES))
    with pytest.raises(MetricsUnavailableError, match=r"pip install 'inferpipe\[metrics\]'"):
        MetricsServer(0, lambda: metrics.snapshot(GAUGES), loop)


@pytest.fixture
def loop():
    """An event loop that runs on a thread, as the worker's does on its main thread."""
    running = asyncio.new_event_loop()
    thread = threading.Thread(target=running.run_forever)
    thread.start()
    yield running
    running.call_soon_threadsafe(running.stop)
    thread.join(TIMEOUT)
    running.close()


@pytest.fixture
def server(metrics, loop):
    with closing(MetricsServer(0, lambda: metrics.snapshot(GAUGES), loop)) as served:
        yield served


def request(server, path="/metrics", method="GET"):
    """Return (status, content type, text)."""
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)) as connection:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.headers["Content-Type"], response.read().decode()


def wait_until(holds):
    deadline = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT)


def test_a_scrape_gets_the_text(server):
    status, content_type, text = request(server)
    assert (status, content_type) == (200, CONTENT_TYPE)
    assert Samples(text)("items_total", slot="0") == 9
    assert request(server, "/metrics?x=1")[0] == 200


@pytest.mark.parametrize(
    "path", ["/", "/metrics/", "/metric", "/../metrics", "*", "http://elsewhere/metrics"]
)
def test_other_paths_are_not_found(server, path):
    assert request(server, path)[0] == 404


def test_other_methods_change_nothing(server):
    assert request(server, method="POST")[0] == 501
    assert request(server)[0] == 200


def test_the_snapshot_is_taken_on_the_event_loop(metrics, loop):
    threads = []

    def snapshot():
        threads.append(threading.current_thread())
        return metrics.snapshot(GAUGES)

    with closing(MetricsServer(0, snapshot, loop)) as served:
        request(served)
    loop.call_soon_threadsafe(lambda: threads.append(threading.current_thread()))
    wait_until(lambda: len(threads) == 2)
    assert threads[0] is threads[1]


def test_it_listens_on_the_loopback_alone(server):
    listening = Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]
    addresses = [line.split()[1] for line in listening if line.split()[3] == "0A"]
    found = [address for address in addresses if address.endswith(f":{server.port:04X}")]
    assert found == [f"0100007F:{server.port:04X}"]  # 127.0.0.1, as the kernel writes it
    sixes = Path("/proc/net/tcp6")
    assert not sixes.exists() or f":{server.port:04X} " not in sixes.read_text("ascii")


def test_a_port_in_use_is_told_at_once(server, metrics, loop):
    with pytest.raises(OSError, match=rf"127\.0\.0\.1:{server.port}: Address already in use"):
        MetricsServer(server.port, lambda: metrics.snapshot(GAUGES), loop)


def test_a_port_is_free_again_after_close(metrics, loop):
    first = MetricsServer(0, lambda: metrics.snapshot(GAUGES), loop)
    assert request(first)[0] == 200
    first.close()
    with pytest.raises(ConnectionRefusedError):
        request(first)
    with closing(MetricsServer(first.port, lambda: metrics.snapshot(GAUGES), loop)) as second:
        assert request(second)[0] == 200


def test_a_loop_that_does_not_answer_is_unavailable(server, loop):
    hold = threading.Event()
    loop.call_soon_threadsafe(hold.wait, TIMEOUT)
    try:
        status, _, text = request(server)
    finally:
        hold.set()
    assert (status, text) == (503, "the worker does not answer\n")
    assert request(server)[0] == 200


def test_a_loop_that_has_ended_is_unavailable(metrics):
    ended = asyncio.new_event_loop()
    ended.close()
    with closing(MetricsServer(0, lambda: metrics.snapshot(GAUGES), ended)) as served:
        assert request(served)[0] == 503


def test_a_snapshot_that_raises_is_an_error_answer_without_its_text(loop, caplog):
    def broken():
        raise ValueError("inside")

    with closing(MetricsServer(0, broken, loop)) as served:
        status, _, text = request(served)
    assert status == 500
    assert "inside" not in text
    assert "inside" in caplog.text


def test_clients_that_say_nothing_keep_no_scrape_out(server):
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(server)) for _ in range(3 * CONNECTIONS_AT_MOST)]
        assert request(server)[0] == 200
        assert idle[0].recv(1) == b""  # the oldest had to go
        serving = [one for one in threading.enumerate() if "process_request" in one.name]
        assert len(serving) <= CONNECTIONS_AT_MOST + 1


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\xff" * 50,
        b"GET /metrics",
        b"A" * 200_000,
        b"GET / HTTP/9.9\r\n\r\n",
    ],
    ids=["nothing", "blank", "tls", "half", "endless", "version"],
)
def test_rude_clients_are_survived_in_silence(server, sent, capfd):
    with connect(server) as client:
        try:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
        except ConnectionError:
            pass  # cut off in the middle of what it sent
    assert request(server)[0] == 200
    assert capfd.readouterr() == ("", "")
