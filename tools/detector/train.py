"""Renders the scenes, trains the detector, exports it, evaluates the file and writes its card: one command.

`python -m tools.detector.train --out models/`
"""

import argparse
import copy
import dataclasses
import logging
import math
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch
from torch import Tensor, nn

from tools.detector.assign import Assigner, Objects, assign, assign_by_place
from tools.detector.card import Cost, write_card
from tools.detector.data import Batch, Phase, Sample, batches, render_pool
from tools.detector.demo import write_demo_scenes
from tools.detector.export import export
from tools.detector.loss import Losses, detection_loss
from tools.detector.model import Detector, cell_grid
from tools.detector.optimiser import make_optimisers
from tools.scenes import CLASS_NAMES

SEED = 1
THREADS = 2
TRAINING_SEEDS = range(8000)
PHASES = (
    Phase(500, batch=96, size=96, zoom=(0.35, 0.9), per_scene=6, focus=True),
    Phase(2400, batch=16, size=320, zoom=(0.5, 1.1)),
    Phase(900, batch=4, size=640, zoom=(0.8, 1.15)),
)
"""Single shapes first, then crowded windows, then whole scenes at the size at which the model is used."""
WARM_UP = 50
BY_PLACE = 0.3
"""Share of the steps in which cells are assigned by place."""
AVERAGE_DECAY = 0.998
REPORT_EVERY = 50
KEEP_EVERY = 250

_log = logging.getLogger("train")


class Average:
    """The exponential moving average of a model's weights and statistics; this is what is exported."""

    def __init__(self, model: Detector) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: Detector, step: int) -> None:
        decay = AVERAGE_DECAY * (1 - math.exp(-(step + 1) / 300))  # early weights are worth little
        for mean, now in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(now, 1 - decay)


def rate(step: int, steps: int) -> float:
    """Share of the full learning rate: a linear rise, then half a cosine down to almost nothing."""
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - WARM_UP) / max(1, steps - WARM_UP)))


def to_tensors(batch: Batch) -> tuple[Tensor, Objects]:
    """Pictures (batch, 3, size, size), 0..1, with channels last in memory, and what is in them."""
    pictures = torch.from_numpy(batch.pictures).permute(0, 3, 1, 2).float().div_(255)
    objects = (torch.from_numpy(a) for a in (batch.boxes, batch.classes, batch.present, batch.regions))
    return pictures, Objects(*objects)


def train_step(
    model: Detector, optimisers: Sequence[torch.optim.Optimizer], batch: Batch, assigner: Assigner
) -> Tensor:
    """One step down the loss of one batch; returns the parts of the loss, (4,)."""
    pictures, objects = to_tensors(batch)
    losses = detection_loss(model(pictures), objects, *cell_grid(*pictures.shape[2:]), assigner)
    losses.total().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    for optimiser in optimisers:
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return torch.stack(losses).detach()


def _set_rates(optimisers: Sequence[torch.optim.Optimizer], share: float) -> None:
    for group in (group for optimiser in optimisers for group in optimiser.param_groups):
        group["lr"] = share * group.setdefault("full_lr", group["lr"])


def _say(step: int, steps: int, recent: list[Tensor], start: float) -> None:
    parts = zip(Losses._fields, torch.stack(recent).mean(0).tolist(), strict=True)
    figures = " ".join(f"{name} {value:.3f}" for name, value in parts)
    _log.info("step %d of %d: %s, %.0f s", step, steps, figures, time.perf_counter() - start)
    recent.clear()


def train(pool: Sequence[Sample], phases: Sequence[Phase], keep: Path | None = None) -> Detector:
    """Trains a detector from scratch; returns its averaged weights, and keeps them in a file on the way."""
    torch.manual_seed(SEED)
    torch.set_num_threads(THREADS)
    torch.set_flush_denormal(True)
    model = Detector(len(CLASS_NAMES)).to(memory_format=torch.channels_last)
    optimisers, average = make_optimisers(model), Average(model)
    steps, start = sum(phase.steps for phase in phases), time.perf_counter()
    recent: list[Tensor] = []
    for step, batch in enumerate(batches(pool, phases, SEED), start=1):
        _set_rates(optimisers, rate(step - 1, steps))
        assigner = assign_by_place if step <= BY_PLACE * steps else assign
        recent.append(train_step(model, optimisers, batch, assigner))
        average.update(model, step)
        if step % REPORT_EVERY == 0:
            _say(step, steps, recent, start)
        if keep and (step % KEEP_EVERY == 0 or step == steps):
            torch.save(average.model.state_dict(), keep)
    return average.model


def _cpu_s() -> float:
    """CPU time so far of this process with all of its threads, and of the rendering processes."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def train_and_measure(pool_seeds: range, phases: Sequence[Phase], keep: Path | None) -> tuple[Detector, Cost]:
    """Renders the pool and trains on it."""
    start, cpu = time.perf_counter(), _cpu_s()
    pool = render_pool(pool_seeds)
    _log.info("%d scenes rendered, %.0f s", len(pool), time.perf_counter() - start)
    detector = train(pool, phases, keep)
    return detector, Cost(time.perf_counter() - start, _cpu_s() - cpu)


def shortened(phases: Sequence[Phase], share: float) -> tuple[Phase, ...]:
    """The same phases with a share of their steps, for a trial."""
    return tuple(dataclasses.replace(phase, steps=max(1, round(phase.steps * share))) for phase in phases)


def main() -> None:
    """Makes the model, its labels, its card and the demo scenes in the given folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("models"))
    parser.add_argument("--weights", type=Path, help="keep torch's weights in this file, too")
    parser.add_argument("--share", type=float, default=1.0, help="of the steps, for a quick trial")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cv2.setNumThreads(1)  # its own threads would only get in the way of torch's
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "shapes.onnx"
    detector, cost = train_and_measure(TRAINING_SEEDS, shortened(PHASES, arguments.share), arguments.weights)
    export(detector, CLASS_NAMES, path)
    (arguments.out / "shapes.labels.txt").write_text("\n".join(CLASS_NAMES) + "\n")
    write_demo_scenes(arguments.out / "scenes")
    write_card(arguments.out / "CARD.md", path, cost, shortened(PHASES, arguments.share), TRAINING_SEEDS)
    _log.info("wrote %s", path)


if __name__ == "__main__":
    main()
