"""INFER_SHARED, and the commands that attach and detach the regions that it reads from."""

from functools import partial
from typing import Any

from frame_cache.errors import RegionError
from frame_cache.shared_memory import SharedRegion
from protocol.commands import RegionAttach, RegionDetach
from protocol.errors import ErrorCode
from protocol.messages import InferShared
from worker.asking import Asked, ask, bind, queue
from worker.errors import Failure, failure_of, region_not_attached
from worker.requests import Request
from worker.service import Service
from worker.slot import ServingModel
from worker.sources import SharedSource


def handle_shared(service: Service, request: Request, message: InferShared) -> None:
    """Queue a picture that lies in a region, which may still be being opened."""
    attachment = service.regions.get(message.region_id)
    asked = ask(service, request, message.model, message.options)
    if attachment is None:
        service.fail(request, region_not_attached(message.region_id))
        return
    waiting = request.held = _SharedPicture(service, asked, message)
    attachment.when_open(waiting.take_region)
    bind(service, message.model, waiting.take_model)


def attach_region(service: Service, request: Request, command: RegionAttach) -> None:
    """Attach a region; what comes behind the command may use it at once."""
    done = partial(_answer_attach, service, request, command.region_id)
    service.regions.attach(command.region_id, command.path, command.size, command.trusted, done)


def detach_region(service: Service, request: Request, command: RegionDetach) -> None:
    """Free a region's id at once; the answer waits for those that use the region."""
    done = partial(_answer_detach, service, request, command.region_id)
    service.regions.detach(command.region_id, done)


class _SharedPicture:
    """The picture of a request that is queued when it has both its model and its region.

    It uses the region until the request is answered.
    """

    def __init__(self, service: Service, asked: Asked, message: InferShared) -> None:
        self._service = service
        self._asked = asked
        self._message = message
        self._model: ServingModel | None = None
        self._source: SharedSource | None = None

    def take_region(self, region: SharedRegion | None, failure: Failure | None) -> None:
        """Become a user of the region from here on: a `detach` waits for it."""
        if self._asked.request.answered:
            return
        if region is None:
            self._fail(failure)
            return
        picture = self._message.picture
        try:
            use = region.use(self._message.offset, picture.size)
        except RegionError as error:
            self._fail(failure_of(error))
            return
        self._source = SharedSource(use, picture.width, picture.height, picture.format)
        self._proceed()

    def take_model(self, model: ServingModel | None) -> None:
        """Keep the model from ending until the request is in its queue."""
        if model is None or self._asked.request.answered:
            queue(self._service, self._asked, (), model)  # says why there is none
            return
        self._model = model
        model.hold()
        self._proceed()

    def let_go(self) -> None:
        """End the use of the region, and the hold on a model whose region did not come in time."""
        self._source = None
        self._release_model()

    def _proceed(self) -> None:
        if self._model is not None and self._source is not None:
            queue(self._service, self._asked, (self._source,), self._model)
            self._release_model()

    def _release_model(self) -> None:
        model, self._model = self._model, None
        if model is not None:
            model.let_go()

    def _fail(self, failure: Failure | None) -> None:
        if failure is not None:
            self._service.fail(self._asked.request, failure)


def _answer_attach(
    service: Service, request: Request, region_id: int, failure: Failure | None, mapped: bool
) -> None:
    service.answer_fields(request, _fields("region_attach", region_id, failure, {"mapped": mapped}))


def _answer_detach(service: Service, request: Request, region_id: int, failure: Failure | None) -> None:
    service.answer_fields(request, _fields("region_detach", region_id, failure, {}))


def _fields(name: str, region_id: int, failure: Failure | None, more: dict[str, Any]) -> dict[str, Any]:
    head: dict[str, Any] = {"cmd": name, "regionId": region_id}
    if failure is None:
        return head | {"status": "ok"} | more
    code: ErrorCode = failure.code
    return head | {"status": "error", "error": failure.text, "code": code}
