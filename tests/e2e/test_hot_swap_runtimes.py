"""Fifty replaces under full load, for every runtime that is here: not one request fails."""

import threading
from pathlib import Path

import pytest
from contract.samples import SAMPLES
from wire import INFER_RAW, RGB, raw

from runtimes import RUNTIMES, get_runtime
from runtimes.errors import RuntimeUnavailableError

REPLACES = 50
IN_FLIGHT = 4
PICTURE = raw(0, 8, 8, RGB, bytes(8 * 8 * 3))


@pytest.mark.parametrize("name", sorted(RUNTIMES.keys() - {"fake"}))
def test_no_request_fails_while_models_come_and_go(spawn, tmp_path: Path, name: str) -> None:
    try:
        get_runtime(name)
    except RuntimeUnavailableError as exc:
        pytest.skip(str(exc))
    folders = [tmp_path / folder for folder in ("one", "other", "bad")]
    for folder in folders:
        folder.mkdir()
    sample = SAMPLES[name]
    good = [{"path": sample.single(folders[0])}, {"path": sample.batched(folders[1])}]
    bad = [
        {"path": sample.broken(folders[2])},
        {"path": str(tmp_path / "none.onnx")},
        {"path": "fake:warmfail"},
    ]
    more = {"postprocessor": "raw"}
    host = spawn({"protocol": 3, "runtime": name, "concurrency": 2, "models": [good[0] | more]})
    assert host.ready["slots"][0]["error"] is None
    over, answers = threading.Event(), []

    def ask() -> None:
        while not over.is_set():
            answers.append(host.ask(INFER_RAW, PICTURE))

    threads = [threading.Thread(target=ask) for _ in range(IN_FLIGHT)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(REPLACES):
            fails = turn % 2 == 1
            config = bad[turn // 2 % len(bad)] if fails else good[turn // 2 % len(good)]
            runtime = {"runtime": "fake"} if config["path"].startswith("fake:") else {}
            answer = host.command("replace", index=0, config=config | more | runtime)
            assert answer["status"] == ("error" if fails else "ok"), answer
            assert answer["slot"]["loaded"]
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert len(answers) > REPLACES
    assert [answer for answer in answers if answer.get("kind") != "raw"] == []
