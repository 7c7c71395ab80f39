"""Runs one picture through one model in every way that is here, each in a worker of its own."""

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from protocol.errors import ErrorCode
from protocol.options import RequestOptions
from worker.cli.failures import CommandFailed
from worker.cli.hosting import hosted
from worker.cli.terminal import program
from worker.cli.verify_describe import SPECIFICATIONS, NotDescribedError, describe
from worker.cli.verify_kinds import FileKind, Refusal, Way, WayFinder, model_size_text, unavailable
from worker.client import Answer, WorkerClient, WorkerError

_POSTPROCESSORS = ("", "ssd", "raw")
"""Tried in this order where none was asked for: the worker's default, and what takes what that refuses."""

_ANOTHER_PICTURE = "give a JPEG, PNG or WebP file; without --image a scene of the project's own is sent"

_PATIENCE_S = 60.0
"""Without an answer."""
_LEAST_RUNS = 3
"""Of the measurement, however slow a model is."""


@dataclass(frozen=True, slots=True)
class Question:
    """What every way is asked."""

    picture: bytes
    """A JPEG, PNG or WebP file."""
    confidence: float
    seconds: float
    """Of the measurement of speed."""
    runtimes: tuple[str, ...] = ()
    """Asked for by name; () is all that read the file."""
    postprocessor: str | None = None
    debug: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """What a way gave."""

    way: Way
    """With the device that really ran."""
    slot: Answer
    answer: Answer
    p50_ms: float
    """From sending the picture to the answer, one in flight."""
    predict_ms: float
    """The median of what the runtime took of that."""

    @property
    def fallback(self) -> str:
        """Why the device is another one than was asked for; "" where it is that."""
        return str(self.slot.get("deviceFallback", ""))


@dataclass(frozen=True, slots=True)
class Examined:
    """A model, and what became of each way to run it."""

    model: str
    kind: FileKind
    description: Answer
    runs: tuple[Run, ...]
    refusals: tuple[Refusal, ...]
    doubt: str = ""
    """Why the default postprocessor does not fit, where another one was taken by itself."""

    @property
    def name(self) -> str:
        return Path(self.model).name

    @property
    def size(self) -> str:
        return model_size_text(self.model)

    @property
    def slot(self) -> Answer:
        """The slot of the first run; {} where there is none."""
        return self.runs[0].slot if self.runs else {}


class Watcher(Protocol):
    """Is told what goes on."""

    def status(self, text: str) -> None:
        """Take what begins."""


class _LoadRefusedError(Exception):
    """A slot that did not load; the text is its error."""


class Examiner:
    """Examines one model."""

    def __init__(
        self, model: str, kind: FileKind, question: Question, finder: WayFinder, watcher: Watcher
    ) -> None:
        self._model = model
        self._name = Path(model).name
        self._kind = kind
        self._question = question
        self._finder = finder
        self._watcher = watcher
        self._postprocessors: Sequence[str] = (
            (question.postprocessor,) if question.postprocessor else _POSTPROCESSORS
        )
        self._doubt = ""
        self._refusals: list[Refusal] = []
        self._runs: list[Run] = []

    async def examine(self) -> Examined:
        """Describe the model, and run it in every way that is here.

        Raises:
            CommandFailed: no runtime that is here can read it.
        """
        description = await self._describe()
        readable = [name for name in self._kind.runtimes if not self._is_refused(name)]
        for runtime in readable:
            self._watcher.status(f"looking for devices of {runtime} …")
            for way in await self._finder.ways_of(runtime):
                self._watcher.status(f"running {self._name} with {way} …")
                await self._try(way)
        return Examined(
            self._model, self._kind, description, tuple(self._runs), tuple(self._refusals), self._doubt
        )

    async def _describe(self) -> Answer:
        """Return what the first runtime that can tells of the file; those that are not here are noted."""
        self._watcher.status(f"reading {self._name} …")
        description: Answer | None = None
        for runtime in self._kind.runtimes:
            missing = unavailable(runtime)
            if missing:
                self._refuse(missing.way, missing.why, missing.then)
            if description is None and (missing is None or runtime in SPECIFICATIONS):
                description = await self._described_by(runtime, here=missing is None)
        if description is None:
            first = self._refusals[0]
            raise CommandFailed(
                f"the model {self._model} cannot be loaded", first.why, first.then or self._advice()
            )
        return description

    async def _described_by(self, runtime: str, *, here: bool) -> Answer | None:
        try:
            return await describe(runtime, self._model)
        except NotDescribedError as error:
            if here:  # else it has been refused already
                self._refuse_load(Way(runtime, ""), error)
            return None

    async def _try(self, way: Way) -> None:
        try:
            run = await self._run(way)
        except _LoadRefusedError as error:
            self._refuse_load(way, error)
        except (CommandFailed, WorkerError, TimeoutError) as error:
            if getattr(error, "code", "") == ErrorCode.DECODE_FAILED:
                raise CommandFailed(
                    "the picture cannot be decoded", _told(error), _ANOTHER_PICTURE
                ) from error
            # It was loaded, or took the worker down: whoever serves with it would meet that too.
            self._refusals.append(Refusal(way, _told(error), wanted=True))
        else:
            if any(other.way == run.way for other in self._runs):
                self._refusals.append(Refusal(way, run.fallback or f"the same as {run.way}"))
            else:
                self._runs.append(run)

    async def _run(self, way: Way) -> Run:
        """Run a way with the first postprocessor that fits; from then on it is the only one.

        Raises:
            _LoadRefusedError: none fits; the text is the first one's.
        """
        refusals: list[str] = []
        for postprocessor in self._postprocessors:
            try:
                run = await self._run_with(way, postprocessor)
            except _LoadRefusedError as error:
                refusals.append(str(error))
                continue
            self._postprocessors = (postprocessor,)
            self._doubt = refusals[0] if refusals else self._doubt
            return run
        raise _LoadRefusedError(refusals[0])

    async def _run_with(self, way: Way, postprocessor: str) -> Run:
        question = self._question
        async with hosted(_config(self._model, way, postprocessor), debug=question.debug) as worker:
            slot: Answer = worker.ready["slots"][0]
            if not slot["loaded"]:
                raise _LoadRefusedError(str(slot["error"]))
            options = RequestOptions(confidence=question.confidence, exif=True)
            asked = await _ask(worker, question.picture, options, question.seconds)
        return Run(Way(way.runtime, slot["device"]), slot, asked.answer, asked.p50_ms, asked.predict_ms)

    def _refuse_load(self, way: Way, error: Exception) -> None:
        why, _, install = str(error).partition("; pip install ")
        self._refuse(way, why, f"pip install {install}" if install else "")

    def _refuse(self, way: Way, why: str, then: str) -> None:
        wanted = way.runtime in self._question.runtimes
        self._refusals.append(Refusal(way, why, then, wanted))

    def _is_refused(self, runtime: str) -> bool:
        return any(refusal.way == Way(runtime, "") for refusal in self._refusals)

    def _advice(self) -> str:
        if not Path(self._model).exists() and ":" not in self._model:
            return "check the path"
        return f"{program()} doctor shows what this machine can run; --debug shows the worker's log"


def _config(model: str, way: Way, postprocessor: str) -> Mapping[str, Any]:
    wanted = {"path": model, "runtime": way.runtime, "device": way.device, "postprocessor": postprocessor}
    return {"protocol": 3, "runtime": "auto", "models": [{key: word for key, word in wanted.items() if word}]}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a picture that was sent again and again gave."""

    answer: Answer
    """The first one; the others are the same."""
    p50_ms: float
    predict_ms: float


async def _ask(worker: WorkerClient, picture: bytes, options: RequestOptions, seconds: float) -> _Asked:
    """Send one picture for a while; the first time is left out, as threads are made with it."""
    first = await _answer(worker, picture, options)
    latencies: list[float] = []
    predicts: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(latencies) < _LEAST_RUNS:
        sent = time.perf_counter()
        answer = await _answer(worker, picture, options)
        latencies.append(time.perf_counter() - sent)
        predicts.append(answer["predictMs"])
    return _Asked(first, statistics.median(latencies) * 1000, statistics.median(predicts))


async def _answer(worker: WorkerClient, picture: bytes, options: RequestOptions) -> Answer:
    async with asyncio.timeout(_PATIENCE_S):
        return await worker.infer_jpeg(picture, options=options)


def _told(error: Exception) -> str:
    if isinstance(error, CommandFailed):
        return f"{error.what}: {error.why}"
    if isinstance(error, TimeoutError):
        return f"no answer for {_PATIENCE_S:.0f} s"
    return error.text.removeprefix("jpeg decode failed: ") if isinstance(error, WorkerError) else str(error)
