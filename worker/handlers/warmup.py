"""The command `warmup`: blank pictures through a slot's own queue and lanes."""

import threading
import time
from functools import partial

from postprocessors.results import Result
from protocol.commands import Warmup
from protocol.errors import ErrorCode
from worker.asking import bind
from worker.errors import Failure, model_not_loaded
from worker.proof import blank_item
from worker.requests import Group, Item, Request
from worker.responses import encode_fields
from worker.service import Service
from worker.slot import ServingModel


def warm_up(service: Service, request: Request, command: Warmup) -> None:
    """Run `runs` rounds, of one picture for each predict thread, one round after another."""
    bind(service, command.index, partial(_begin, service, request, command))


def _begin(service: Service, request: Request, command: Warmup, serving: ServingModel | None) -> None:
    if serving is None:
        _answer_failure(service, request, command.index, model_not_loaded(command.index))
        return
    serving.hold()
    serving.use(time.perf_counter())
    _WarmUp(service, request, command, serving).run()


class _WarmUp:
    """The rounds of one command; the reply of its pictures."""

    def __init__(self, service: Service, request: Request, command: Warmup, serving: ServingModel) -> None:
        self._service = service
        self._request = request
        self._index = command.index
        self._rounds = command.runs
        self._serving = serving
        self._began = time.perf_counter()
        self._lock = threading.Lock()
        self._missing = 0
        self._failure: Failure | None = None

    def run(self) -> None:
        """Begin a round, on the loop; a host that has gone away is not worked for."""
        if self._request.answered or not self._rounds or self._failure:
            self._end()
            return
        self._rounds -= 1
        pipeline = self._serving.loaded.pipeline
        self._missing = pipeline.plan.lanes
        for _ in range(self._missing):
            pipeline.queue.submit(Group([blank_item(pipeline, self)]))

    def succeed(self, item: Item, result: Result) -> None:
        """Count a picture as done, on any thread."""
        self._count()

    def fail(self, item: Item, failure: Failure) -> None:
        """Count a picture as done; what a blank one decodes to is no fault, a failed predict call is."""
        if item.timings.predict_ms == 0:
            self._failure = failure
        self._count()

    def _count(self) -> None:
        with self._lock:
            self._missing -= 1
            is_last = not self._missing
        if is_last:
            self._service.loop.call_soon_threadsafe(self.run)

    def _end(self) -> None:
        self._serving.let_go()
        if self._failure is not None:
            _answer_failure(self._service, self._request, self._index, self._failure)
            return
        took = round((time.perf_counter() - self._began) * 1000, 2)
        fields = {"cmd": "warmup", "index": self._index, "status": "ok", "warmupMs": took}
        self._service.answer(self._request, encode_fields(fields))


def _answer_failure(service: Service, request: Request, index: int, failure: Failure) -> None:
    code: ErrorCode = failure.code
    fields = {"cmd": "warmup", "index": index, "status": "error", "error": failure.text, "code": code}
    service.answer_fields(request, fields)
