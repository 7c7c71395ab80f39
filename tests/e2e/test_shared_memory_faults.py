"""What a host may do wrong with shared memory: it has its error, and the worker lives on."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from e2e.queues import config
from e2e.region_files import KINDS, REGION, SIDE, SIZE, Regions, attached, found, infer, numbered
from raw_host import RawHost
from wire import COMMAND, ENCODED, INFER_RAW, INFER_SHARED, RGB, WITH_OPTIONS, options, raw, shared

from runtimes.picture_ids import draw_id

ECHO = {"path": "fake:echo?size=64"}


@pytest.fixture
def make_region(tmp_path) -> Iterator[Regions]:
    regions = Regions(tmp_path)
    yield regions
    regions.close()


def refused(host: RawHost, payload: bytes, *words: str, type_byte: int = INFER_SHARED) -> None:
    answer = host.ask(type_byte, payload)
    assert set(answer) == {"error", "code"}
    assert answer["code"] == "bad_request", answer
    for word in words:
        assert word in answer["error"]


@pytest.fixture
def host(shared_host) -> Iterator[RawHost]:
    """A worker that lives on, whatever the tests did to it."""
    host = shared_host(config(ECHO))
    pid = host.process.pid
    yield host
    host.command("region_detach", regionId=REGION)
    assert found(host.ask(INFER_RAW, raw(0, SIDE, SIDE, RGB, numbered(5)))) == [5]
    assert shared_host(config(ECHO)).process.pid == pid


def test_a_file_that_shrinks_is_a_bad_request_and_no_end(host, make_region):
    region = make_region("plain", 2 * SIZE)
    region.write(numbered(3))
    attached(host, region)
    region.shrink(SIZE)
    assert found(host.ask(INFER_SHARED, infer())) == [3]  # it is there still
    refused(host, infer(SIZE), "shrunk")
    region.shrink(0)
    refused(host, infer(), "shrunk")
    region.shrink(2 * SIZE)
    region.write(numbered(4))
    assert found(host.ask(INFER_SHARED, infer())) == [4]


@pytest.mark.parametrize("kind", ["plain", "trusted"])
def test_a_file_that_vanishes_or_is_made_anew_is_a_bad_request(host, make_region, kind):
    region = make_region(kind)
    attached(host, region)
    Path(region.path).unlink()
    refused(host, infer())
    Path(region.path).write_bytes(numbered(9))
    refused(host, infer(), "another file")
    assert host.command("region_detach", regionId=REGION)["status"] == "ok"
    attached(host, region)
    assert found(host.ask(INFER_SHARED, infer())) == [9]


@pytest.mark.skipif(sys.platform != "linux", reason="memory files are Linux's")
def test_a_memory_file_whose_descriptor_is_closed_is_a_bad_request(host, make_region):
    region = make_region("memfd")
    attached(host, region)
    os.close(region._descriptor)
    refused(host, infer())


@pytest.mark.parametrize("offset", [1, SIZE, 10 * SIZE, (1 << 64) - 1, (1 << 64) - SIZE])
@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_lie_within_the_region_is_a_bad_request(host, make_region, kind, offset):
    region = make_region(kind)
    attached(host, region)
    refused(host, infer(offset), "region")


@pytest.mark.parametrize("region_id", [0, 8, 0xFFFF_FFFF])
def test_what_is_not_attached_is_a_bad_request_that_names_it(host, make_region, region_id):
    attached(host, make_region())
    refused(host, infer(region_id=region_id), f"region {region_id} is not attached")
    answer = host.command("region_detach", regionId=region_id)
    assert (answer["status"], answer["code"]) == ("error", "bad_request")
    assert answer["error"].startswith(f"region {region_id} is not attached")


def test_an_attach_that_fails_fails_what_comes_behind_it(host, make_region, tmp_path):
    region = make_region()
    cases = {
        str(tmp_path / "nothing"): "bad_request",
        str(tmp_path): "bad_request",
        "/dev/zero": "bad_request",
        "": "bad_request",
        "/proc/1073741823/fd/3": "unsupported",
    }
    for path, expected in cases.items():
        attach, inferred = host.together((COMMAND, region.attach(path=path)), (INFER_SHARED, infer()))
        assert (attach["status"], attach["code"], inferred["code"]) == ("error", expected, expected), path
    too_long = host.ask(COMMAND, region.attach(size=SIZE + 1))
    assert too_long["code"] == "bad_request"
    attached(host, region)  # its id is free after all of that


def test_an_id_is_attached_once(host, make_region):
    region, other = make_region(), make_region()
    region.write(numbered(1))
    other.write(numbered(2))
    first, second = host.together((COMMAND, region.attach()), (COMMAND, other.attach()))
    assert first["status"] == "ok"
    assert (second["status"], second["code"]) == ("error", "bad_request")
    assert found(host.ask(INFER_SHARED, infer())) == [1]


def test_options_come_before_the_header(host, make_region):
    region = make_region("plain", 2 * SIZE)
    side_by_side = np.hstack([draw_id(11, SIDE, SIDE), draw_id(22, SIDE, SIDE)])
    region.write(side_by_side.tobytes())
    attached(host, region)
    payload = shared(0, REGION, 0, 2 * SIDE, SIDE, RGB, 2 * SIZE)
    assert INFER_SHARED | WITH_OPTIONS == 0x86
    for roi, number in (([0, 0, SIDE, SIDE], 11), ([SIDE, 0, SIDE, SIDE], 22)):
        assert found(host.ask(INFER_SHARED, payload, {"roi": roi})) == [number]
    refused(host, options({"unheardOf": 1}, payload), "unheardOf", type_byte=0x86)
    refused(host, options({"roi": [0, 0, 2 * SIDE + 1, SIDE]}, payload), "roi", type_byte=0x86)


def test_a_payload_that_is_too_long_or_too_short_is_a_bad_request(host, make_region):
    attached(host, make_region())
    refused(host, infer() + b"\0")
    refused(host, infer()[:-1], "truncated infer_shared header")
    refused(host, b"")


def test_bytes_that_disagree_with_size_and_format_are_bad_requests(host, make_region):
    attached(host, make_region("plain", 2 * SIZE))
    refused(host, shared(0, REGION, 0, SIDE, SIDE, RGB, SIZE - 1), "raw wrap failed: ")
    refused(host, shared(0, REGION, 0, SIDE, SIDE, RGB, SIZE + 1), "raw wrap failed: ")
    refused(host, shared(0, REGION, 0, SIDE, SIDE, 9, SIZE))
    refused(host, shared(0, REGION, 0, 0, 0, ENCODED, 0))
    answer = host.ask(INFER_SHARED, shared(0, REGION, 0, 0, 0, ENCODED, SIZE))
    assert answer["code"] == "decode_failed"
    assert answer["error"].startswith("raw wrap failed: ")


def test_a_host_of_version_2_has_excess_pixels_cut_off_and_empty_detections(spawn, make_region):
    host = spawn(config(ECHO) | {"protocol": 2})
    region = make_region("plain", 2 * SIZE)
    region.write(numbered(6))
    attached(host, region)
    assert found(host.ask(INFER_SHARED, shared(0, REGION, 0, SIDE, SIDE, RGB, SIZE + 5))) == [6]
    answer = host.ask(INFER_SHARED, infer(region_id=8))
    assert answer.items() >= {"kind": "detections", "detections": [], "inferenceMs": 0}.items()


def test_the_ready_answer_says_that_regions_are_served(host):
    assert "shared" in host.ready["features"]
