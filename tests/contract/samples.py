"""A few tiny models of each runtime, written by code when a test asks for them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contract import tiny_onnx


@dataclass(frozen=True)
class Sample:
    """Models of one runtime: both answer something else to other pictures."""

    batched: Callable[[Path], str]
    """Writes a model with an open batch axis, and returns its reference."""
    single: Callable[[Path], str]
    """The same with a batch axis of 1."""
    broken: Callable[[Path], str]


def tflite(*shape: int) -> Callable[[Path], str]:
    """Return what writes a LiteRT model, once there is a library to write it with."""

    def write(folder: Path) -> str:
        from contract import tiny_tflite

        return str(tiny_tflite.means(folder / "m.tflite", shape))

    return write


def truncated_tflite(folder: Path) -> str:
    whole = Path(tflite(1, 8, 8, 3)(folder)).read_bytes()
    (folder / "broken.tflite").write_bytes(whole[: len(whole) // 2])
    return str(folder / "broken.tflite")


def truncated_onnx(folder: Path) -> str:
    whole = tiny_onnx.means(folder / "whole.onnx").read_bytes()
    (folder / "broken.onnx").write_bytes(whole[: len(whole) // 2])
    return str(folder / "broken.onnx")


def torch_sample(kind: str) -> Callable[[Path], str]:
    """Return what writes a PyTorch program, once there is a library to write it with."""

    def write(folder: Path) -> str:
        from contract import tiny_torch

        return str(getattr(tiny_torch, kind)(folder / ("m.pt" if kind == "means" else "m.pt2")))

    return write


def truncated_torch(folder: Path) -> str:
    whole = Path(torch_sample("means")(folder)).read_bytes()
    (folder / "broken.pt").write_bytes(whole[: len(whole) // 2])
    return str(folder / "broken.pt")


def package(rows: int | None) -> Callable[[Path], str]:
    """Return what writes a Core ML package of so many rows."""

    def write(folder: Path) -> str:
        from contract import tiny_coreml

        return str(tiny_coreml.means(folder / "m.mlpackage", rows))

    return write


def package_without_manifest(folder: Path) -> str:
    (folder / "m.mlpackage").mkdir()
    return str(folder / "m.mlpackage")


def ir(onnx_file: Path, stored: float = 1.0) -> str:
    """Write the same model in OpenVINO's own format, and so much of its weights."""
    from runtimes.openvino_library import openvino, read_model

    path = onnx_file.with_suffix(".xml")
    openvino.save_model(read_model(onnx_file), path)
    weights = path.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[: int(weights.stat().st_size * stored)])
    return str(path)


SAMPLES = {
    "onnxruntime": Sample(
        batched=lambda folder: str(tiny_onnx.means(folder / "m.onnx")),
        single=lambda folder: str(tiny_onnx.means(folder / "m.onnx", (1, 3, 8, 8), out_batch=1)),
        broken=truncated_onnx,
    ),
    "openvino": Sample(
        batched=lambda folder: ir(tiny_onnx.means(folder / "m.onnx")),
        single=lambda folder: ir(tiny_onnx.means(folder / "m.onnx", (1, 3, 8, 8), out_batch=1)),
        broken=lambda folder: ir(tiny_onnx.means(folder / "m.onnx"), stored=0.5),
    ),
    "litert": Sample(batched=tflite(-1, 8, 8, 3), single=tflite(1, 8, 8, 3), broken=truncated_tflite),
    "coreml": Sample(batched=package(None), single=package(1), broken=package_without_manifest),
    "torch": Sample(batched=torch_sample("means"), single=torch_sample("single"), broken=truncated_torch),
    "fake": Sample(
        batched=lambda _: "fake:echo?size=8",
        single=lambda _: "fake:echo?size=8&batch=1",
        broken=lambda _: "fake:loadfail",
    ),
}
