"""Model files: what is missing, broken or for something else fails its slot and nothing more; tiny ones are served."""

import sys
from pathlib import Path

import pytest
from wire import INFER_BATCH, INFER_RAW, RGB, any_raw, batch, pixels, raw

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "contract"))
