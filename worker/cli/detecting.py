"""Sends pictures to a worker, several in flight, and gives the outcomes in the order of the pictures."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocol.options import RequestOptions
from worker.cli.annotations import AnnotatedCopies, write_copy
from worker.cli.pictures import PictureFile, Unusable, read
from worker.client import Answer, WorkerClient, WorkerError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one picture."""

    name: str
    answer: Answer
    """As the worker gave it, or an error object."""
    copy: Path | None = None
    """The annotated copy, where one was written."""

    @property
    def failed(self) -> bool:
        return "error" in self.answer


class Detector:
    """One worker, and what is wanted of it for every picture."""

    def __init__(self, worker: WorkerClient, options: RequestOptions, copies: AnnotatedCopies | None) -> None:
        self._worker = worker
        self._options = options
        self._copies = copies

    async def outcomes(
        self, pictures: Iterable[PictureFile | Unusable], in_flight: int
    ) -> AsyncIterator[Outcome]:
        """Yield the outcomes in the order of the pictures; at most `in_flight` files are in memory."""
        waiting: deque[asyncio.Task[Outcome]] = deque()
        try:
            for picture in pictures:
                waiting.append(asyncio.create_task(self._outcome(picture)))
                if len(waiting) >= in_flight:
                    yield await waiting[0]
                    waiting.popleft()
            while waiting:
                yield await waiting[0]
                waiting.popleft()
        finally:
            await _cancelled(waiting)

    def _outcome(self, picture: PictureFile | Unusable) -> Coroutine[Any, Any, Outcome]:
        if isinstance(picture, Unusable):
            return _refused(picture)
        # Named here, in the order of the pictures, and not in that of the answers.
        return self._detect(picture, self._copies.name_for(picture.path) if self._copies else None)

    async def _detect(self, picture: PictureFile, copy: Path | None) -> Outcome:
        data = await asyncio.to_thread(read, picture)
        if isinstance(data, Unusable):
            return await _refused(data)
        try:
            answer = await self._worker.infer_jpeg(data, options=self._options)
        except WorkerError as error:
            return Outcome(picture.name, error.answer)
        if copy is None or "detections" not in answer:
            return Outcome(picture.name, answer)
        try:
            await asyncio.to_thread(write_copy, copy, data, answer["detections"])
        except OSError as error:
            why = f"{copy} cannot be written: {error.strerror or error}"
            return Outcome(picture.name, {"error": why, "code": "unwritable"})
        return Outcome(picture.name, answer, copy)


async def refusals(words: Iterable[PictureFile | Unusable]) -> AsyncIterator[Outcome]:
    """Yield an outcome for each word that gave no picture; no worker is needed for that."""
    for word in words:
        if isinstance(word, Unusable):
            yield await _refused(word)


async def _refused(picture: Unusable) -> Outcome:
    return Outcome(picture.name, {"error": picture.why, "code": picture.code})


async def _cancelled(tasks: Iterable[asyncio.Task[Outcome]]) -> None:
    """End tasks whose outcome nobody waits for any more."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
