"""Writes Core ML models of a few kilobytes. coremltools does that on any platform."""

import gc
import warnings
from collections.abc import Sequence
from pathlib import Path

import coremltools
from coremltools.converters.mil import Builder
from coremltools.converters.mil.mil import get_new_symbol


def means(path: Path, rows: int | None = None, classes: Sequence[str] = ()) -> Path:
    """Write a package that answers the mean of each channel of a float32 [rows, 3, 8, 8]: `means`.

    Args:
        path: a folder `*.mlpackage` to make.
        rows: a fixed number of them; None leaves it open, up to 8.
        classes: what a classifier calls the channels.
    """
    first = get_new_symbol() if rows is None else rows

    @Builder.program(input_specs=[Builder.TensorSpec(shape=(first, 3, 8, 8))])
    def program(images):
        return Builder.reduce_mean(x=images, axes=[2, 3], name="means")

    shape = (coremltools.RangeDim(1, 8, default=1) if rows is None else rows, 3, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the library leaves its folders to the collector
        model = coremltools.convert(
            program,
            inputs=[coremltools.TensorType(name="images", shape=shape)],
            classifier_config=coremltools.ClassifierConfig(list(classes)) if classes else None,
            convert_to="mlprogram",
            minimum_deployment_target=coremltools.target.iOS16,
            skip_model_load=True,
        )
        model.save(str(path))
        del model
        gc.collect()
    return path
