"""Imports torch, once the settings are in place that it reads while it is loaded."""

import os

# Overrides every `weights_only=False`, those inside torch.export.load too: a pickle names no code of its own.
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)

# OpenMP's threads wait for the next operator by spinning, which takes their cores from the prepare pool: the
# default model, one lane of two threads beside a thread that decodes JPEG, on 2 busy cores: 3.2
# predicts/s with spinning, 29.4 without. Read when the library loads, for the whole process.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

__all__ = ["torch"]
