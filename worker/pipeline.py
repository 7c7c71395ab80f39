"""One model's way from items to results: queue, prepare, lanes, postprocess.

Stages hand work to each other on their own threads; nothing returns to the event loop before
the answer is encoded.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from frame_cache.base import PreparedKey
from postprocessors.base import BoundPostprocessor, PostprocessContext
from preprocess.options import PrepareOptions
from runtimes.base import CompiledModel
from runtimes.spec import TensorMap
from worker.direct_queue import DirectQueue
from worker.errors import Failure, failure_of
from worker.lanes import LanePool
from worker.model_queue import ModelQueue
from worker.pictures import Pictures
from worker.pools import PreparePool
from worker.requests import Item, ItemOptions, ItemQueue, Stage
from worker.shares import PredictShares
from worker.sources import SPENT


@dataclass(frozen=True, slots=True, eq=False)
class Stages:
    """What the models of a process share."""

    prepare_pool: PreparePool
    shares: PredictShares
    pictures: Pictures


@dataclass(frozen=True, slots=True, eq=False)
class ModelPlan:
    """How one loaded model is fed and read."""

    compiled: CompiledModel
    postprocessor: BoundPostprocessor
    input_name: str
    prepare: PrepareOptions
    generation: int
    """Different for every load: part of the key of prepared tensors."""
    lanes: int
    batch_limit: int
    merges: bool
    """Whether a lane merges what is ready: the mode `adaptive`."""
    lanes_prepare: bool = False
    """Whether each lane prepares what it predicts; then there are no batches."""


_HOP_MS = 0.05
"""What handing work to another thread costs: what takes less is done where it is."""

_WEIGHT = 0.2
"""Of the newest measurement in the running mean of what postprocessing takes."""


class ModelPipeline:
    """The queue, the threads and the three stages of one model."""

    def __init__(self, plan: ModelPlan, stages: Stages) -> None:
        self.plan = plan
        self._stages = stages
        self._postprocess_ms = _HOP_MS
        self.queue = self._make_queue()
        self.lanes = LanePool(
            plan.compiled, plan.input_name, self.queue, plan.lanes, stages.shares, self._deliver, self._fail
        )

    def _make_queue(self) -> ItemQueue:
        plan = self.plan
        if plan.lanes_prepare:
            return DirectQueue(self._prepare, self._want_lane)
        return ModelQueue(
            ahead_limit=plan.lanes * (plan.batch_limit + 1),
            merge_limit=plan.batch_limit if plan.merges else 0,
            begin_prepare=self._begin_prepare,
            want_lane=self._want_lane,
        )

    def adopt(self, items: Sequence[Item]) -> None:
        """Skip prepare for items whose tensor lies in the cache; called before they are queued."""
        for item in items:
            item.prepared = item.source.peek(item.key)

    def show_outputs(self, see: Callable[[TensorMap], None] | None) -> None:
        """Show outputs before they are postprocessed; None ends it. Not while the model serves: it costs."""
        self.lanes.deliver = self._deliver if see is None else partial(self._show, see)

    def _begin_prepare(self, item: Item) -> None:
        self._stages.prepare_pool.begin(self._prepare, item)

    def _want_lane(self) -> None:
        self.lanes.open_if_starved()

    def key(self, options: ItemOptions) -> PreparedKey:
        """Return what a tensor of this model and these options is kept by."""
        return PreparedKey(self.plan.generation, self.plan.prepare, options.decode, options.roi)

    def _prepare(self, item: Item) -> None:
        """Decode and prepare one item, on a thread of the prepare pool or the lane's own."""
        if item.stage is not Stage.WITHDRAWN:
            try:
                self._make_tensor(item)
            except Exception as error:  # noqa: BLE001 - the boundary of this request
                if self.queue.withdraw(item):  # else it was answered meanwhile
                    item.reply.fail(item, failure_of(error, item.source.decode_prefix))
        item.source = SPENT  # its memory is free for the next packet
        self.queue.settle(item)

    def _make_tensor(self, item: Item) -> None:
        timings, options = item.timings, item.options
        timings.prepare_began = began = time.perf_counter()
        pictures = self._stages.pictures
        pixels = item.source.pixels(pictures.decode, options.decode)
        decoded = time.perf_counter()
        make = partial(pictures.prepare, pixels, self.plan.prepare, options.roi)
        item.prepared = item.source.prepared(item.key, make)
        timings.prepared = time.perf_counter()
        timings.decode_ms = (decoded - began) * 1000
        timings.prepare_ms = (timings.prepared - decoded) * 1000

    def _deliver(self, item: Item, outputs: TensorMap) -> None:
        """Take an item's outputs on the lane's thread; hand them on where that pays."""
        if self._postprocess_ms * item.batch_size < _HOP_MS:
            self._postprocess((item, outputs))
        else:
            self._stages.prepare_pool.finish(self._postprocess, (item, outputs))

    def _show(self, see: Callable[[TensorMap], None], item: Item, outputs: TensorMap) -> None:
        see(outputs)
        self._deliver(item, outputs)

    def _fail(self, item: Item, failure: Failure) -> None:
        item.reply.fail(item, failure)

    def _postprocess(self, work: tuple[Item, TensorMap]) -> None:
        """Decode and encode one item's outputs, on a thread of the prepare pool or the lane's own."""
        item, outputs = work
        assert item.prepared is not None
        began = time.perf_counter()
        try:
            context = PostprocessContext(item.prepared.transform, item.options.result)
            result = self.plan.postprocessor.run(outputs, context)
            took = item.timings.postprocess_ms = (time.perf_counter() - began) * 1000
            self._postprocess_ms += _WEIGHT * (took - self._postprocess_ms)
            item.reply.succeed(item, result)
        except Exception as error:  # noqa: BLE001 - the boundary of this request
            item.reply.fail(item, failure_of(error))
