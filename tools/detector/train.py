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
from tools.scenes import CLASS_NAMES

SEED = 1
THREADS = 2
TRAINING_SEEDS = range(8000)
PHASES = (Phase(4000, 16, 320, (0.45, 1.05)), Phase(1500, 4, 640, (0.8, 1.15)))
WARM_UP = 150
BY_PLACE = 0.3
"""Share of the steps in which cells are assigned by place."""
RATE = 3e-3
DECAY = 0.05
AVERAGE_DECAY = 0.998

_log = logging.getLogger("train")


class Average:
    """The exponential moving average of a model's weights and statistics; this is what is exported."""

    def __init__(self, model: nn.Module) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = AVERAGE_DECAY * (1 - math.exp(-(step + 1) / 300))  # early weights are worth little
        for mean, now in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(now, 1 - decay)


def rate(step: int, steps: int) -> float:
    """Share of the full learning rate: a linear rise, then half a cosine down to almost nothing."""
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - WARM_UP) / max(1, steps - WARM_UP)))


def make_optimiser(model: nn.Module) -> torch.optim.Optimizer:
    """AdamW; norms, biases and scales do not decay."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": DECAY},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=RATE)


def to_tensors(batch: Batch) -> tuple[Tensor, Objects]:
    """Pictures (batch, 3, size, size), 0..1, with channels last in memory, and what is in them."""
    pictures = torch.from_numpy(batch.pictures).permute(0, 3, 1, 2).float().div_(255)
    objects = (torch.from_numpy(a) for a in (batch.boxes, batch.classes, batch.present, batch.regions))
    return pictures, Objects(*objects)


def train_step(model: Detector, optimiser: torch.optim.Optimizer, batch: Batch, assigner: Assigner) -> Losses:
    """One step down the loss of one batch."""
    pictures, objects = to_tensors(batch)
    losses = detection_loss(model(pictures), objects, *cell_grid(*pictures.shape[2:]), assigner)
    losses.total().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return losses


def _say(step: int, steps: int, losses: Losses, start: float) -> None:
    parts = " ".join(f"{name} {value.item():.3f}" for name, value in losses._asdict().items())
    _log.info("step %d of %d: %s, %.0f s", step, steps, parts, time.perf_counter() - start)


def train(pool: Sequence[Sample], phases: Sequence[Phase]) -> Detector:
    """Trains a detector from scratch; returns its averaged weights."""
    torch.manual_seed(SEED)
    torch.set_num_threads(THREADS)
    torch.set_flush_denormal(True)
    model = Detector(len(CLASS_NAMES)).to(memory_format=torch.channels_last)
    optimiser, average = make_optimiser(model), Average(model)
    steps, start = sum(phase.steps for phase in phases), time.perf_counter()
    for step, batch in enumerate(batches(pool, phases, SEED)):
        for group in optimiser.param_groups:
            group["lr"] = RATE * rate(step, steps)
        losses = train_step(model, optimiser, batch, assign_by_place if step < BY_PLACE * steps else assign)
        average.update(model, step)
        if step % 50 == 0:
            _say(step, steps, losses, start)
    return average.model


def _cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def train_and_measure(pool_seeds: range, phases: Sequence[Phase]) -> tuple[Detector, Cost]:
    """Renders the pool and trains on it."""
    start, cpu = time.perf_counter(), _cpu_s()
    pool = render_pool(pool_seeds)
    _log.info("%d scenes rendered, %.0f s", len(pool), time.perf_counter() - start)
    detector = train(pool, phases)
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
    detector, cost = train_and_measure(TRAINING_SEEDS, shortened(PHASES, arguments.share))
    if arguments.weights:
        torch.save(detector.state_dict(), arguments.weights)
    export(detector, CLASS_NAMES, path)
    (arguments.out / "shapes.labels.txt").write_text("\n".join(CLASS_NAMES) + "\n")
    write_demo_scenes(arguments.out / "scenes")
    write_card(arguments.out / "CARD.md", path, cost, shortened(PHASES, arguments.share), TRAINING_SEEDS)
    _log.info("wrote %s", path)


if __name__ == "__main__":
    main()
