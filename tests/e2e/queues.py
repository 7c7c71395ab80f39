"""What waits where in a worker, as its command `metrics` tells, and the order in which answers come."""

import time
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from raw_host import DEADLINE_S, NoAnswerError, RawHost
from wire import COMMAND, INFER_RAW, WITH_OPTIONS, any_raw, options, packet

HANG = {"path": "fake:hang?size=32"}
"""Its first predict call never ends, so that what comes behind it stays where it is."""

AHEAD = 2
"""Items that are prepared ahead of predict, with one lane and without batches."""


def config(*models: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"protocol": 3, "runtime": "fake", "models": list(models), **settings}


def sleeper(ms: int = 0, ms_per_item: int = 0, **settings: Any) -> dict[str, Any]:
    return {"path": f"fake:sleep?size=32&ms={ms}&ms_per_item={ms_per_item}", **settings}


def metrics(host: RawHost) -> dict[str, Any]:
    return host.command("metrics")["metrics"]


def slot_metrics(host: RawHost, slot: int = 0) -> dict[str, Any]:
    [found] = [fields for fields in metrics(host)["slots"] if fields["index"] == slot]
    return found


def wait_queue(host: RawHost, slot: int = 0, **expected: int) -> None:
    """Wait until so many items of a slot are `waiting`, `preparing`, `ready` and `predicting`."""
    until = time.monotonic() + DEADLINE_S
    while not expected.items() <= (queue := slot_metrics(host, slot)["queue"]).items():
        if time.monotonic() > until:
            raise NoAnswerError(f"expected {expected}, the queue is {queue}")
        time.sleep(0.005)


def send_all(
    host: RawHost, requests: Sequence[tuple[int, bytes]], request_options: Sequence[Any] = ()
) -> list[int]:
    """Send requests in one write, each with its options where there are any; returns the ids."""
    ids, data = [], b""
    for (type_byte, payload), given in zip_longest(requests, request_options):
        ids.append(host.next_id())
        if given is None:
            data += packet(ids[-1], type_byte, payload)
        else:
            data += packet(ids[-1], type_byte | WITH_OPTIONS, options(given, payload))
    host.send(data)
    return ids


def send_pictures(host: RawHost, request_options: Sequence[Any], model: int = 0) -> list[int]:
    """Send one small picture for each of these options, in one write; returns the ids."""
    return send_all(host, [(INFER_RAW, any_raw(model))] * len(request_options), request_options)


def fill(host: RawHost, request_type: int, payload: bytes) -> list[int]:
    """Send to a model that hangs: one request into predict, and those that are prepared ahead of it.

    Returns the ids; what comes for the slot from now on waits unprepared.
    """
    ids = [host.request(request_type, payload)]
    wait_queue(host, predicting=1, ready=0)
    ids += [host.request(request_type, payload) for _ in range(AHEAD)]
    wait_queue(host, predicting=1, preparing=0, ready=AHEAD)
    return ids


def cancel(host: RawHost, request_id: int) -> int:
    """Cancel a request; returns how many will be answered `cancelled`."""
    answer = host.ask(COMMAND, {"cmd": "cancel", "requestId": request_id})
    assert answer.items() >= {"cmd": "cancel", "status": "ok", "requestId": request_id}.items()
    return answer["cancelled"]


def code(answer: dict[str, Any]) -> str:
    return answer.get("code", "ok")


def codes(answers: Any) -> list[str]:
    """Return the outcome of each answer or item: its code, or "ok"."""
    return [code(answer) for answer in answers]


def arrival_order(host: RawHost, ids: Sequence[int]) -> list[int]:
    """Return ids in the order in which their answers came."""
    wanted = set(ids)
    return [request_id for request_id in host.received if request_id in wanted]
