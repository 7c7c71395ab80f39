"""Opens the two formats that hold a whole PyTorch program, and makes them one thing that is called."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from runtimes.errors import ModelLoadError
from runtimes.inputs import Axis, DeclaredTensor
from runtimes.metadata import parse_image_size
from runtimes.torch_devices import CPU
from runtimes.torch_library import torch

Tensor = Any  # torch.Tensor: the type checker does without the library
Module = Any

BATCH = "batch"
UNKNOWN_IMAGE: tuple[Axis, ...] = (BATCH, "channels", "height", "width")
"""What TorchScript says of an input is its name alone; that one takes pictures."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a program runs, and in which precision."""

    device: str = CPU
    half: bool = False

    @property
    def plain(self) -> bool:
        """As the file has it: nothing that could turn out not to run."""
        return self.device == CPU and not self.half


@dataclass(frozen=True, slots=True)
class Program:
    """A loaded model, before anything is known of how it runs."""

    call: Callable[[Sequence[Tensor]], Any]
    """Takes the inputs in order, answers with tensors in any nesting."""
    inputs: tuple[DeclaredTensor, ...]
    dtypes: tuple[Any, ...]
    """The library's type of each input; differs from numpy's where that has none (bfloat16)."""
    outputs: tuple[DeclaredTensor, ...] | None = None
    """None where only a run can tell."""
    max_batch: int | None = None
    """The most rows that the file allows; None where it sets no limit."""
    writes_inputs: bool = False
    channels_last: bool = False
    """Pictures run faster where the channels of a pixel lie together."""

    def laid_out(self, tensor: Tensor) -> Tensor:
        """Return an input in the memory layout that the program runs fastest on."""
        if self.channels_last and tensor.dim() == len(UNKNOWN_IMAGE):
            return tensor.contiguous(memory_format=torch.channels_last)
        return tensor


def load_script(
    path: Path, placement: Placement, properties: Mapping[str, str], *, has_example: bool
) -> Program:
    """Open a TorchScript file, folded and with its weights laid out for the device."""
    module = _open_script(path, placement.device, has_example=has_example).eval()
    if placement.half:
        module = module.half()
    shapes = _traced_shapes(module)
    dtype = next(
        (weight.dtype for weight in module.parameters() if weight.is_floating_point()), torch.float32
    )
    names = _script_inputs(path, module)
    inputs = tuple(_script_input(name, shapes.get(index), properties) for index, name in enumerate(names))
    if any(tensor.axes == UNKNOWN_IMAGE for tensor in inputs[1:]):
        raise ModelLoadError(
            f"{path} takes {', '.join(names)}, and TorchScript does not say of which shapes: "
            "save it from torch.jit.trace, or with torch.export.save(…)"
        )
    channels_last = placement.device == CPU
    if channels_last:
        module = module.to(memory_format=torch.channels_last)
    frozen = _frozen(module)
    dtypes = tuple(shapes[index].dtype if index in shapes else dtype for index in range(len(names)))
    dtypes = tuple(_placed(dtype, placement) for dtype in dtypes)
    return Program(
        lambda tensors: frozen(*tensors),
        tuple(DeclaredTensor(t.name, t.axes, numpy_name(d)) for t, d in zip(inputs, dtypes, strict=True)),
        dtypes,
        channels_last=channels_last,
    )


def load_exported(path: Path, placement: Placement) -> Program:
    """Open a file of `torch.export`; `check_exported` has passed it."""
    program = torch.export.load(path)
    if placement.device != CPU:
        from torch.export.passes import move_to_device_pass  # noqa: PLC0415 - a second to import

        program = move_to_device_pass(program, placement.device)
    names = [str(name) for name in program.graph_signature.user_inputs]
    fakes = _fake_inputs(path, program, names)
    dtypes = tuple(_placed(fake.dtype, placement) for fake in fakes)
    writes = program.graph_signature.user_inputs_to_mutate
    return Program(
        _exported_call(program, placement),
        tuple(
            DeclaredTensor(name, _axes(fake), numpy_name(dtype))
            for name, fake, dtype in zip(names, fakes, dtypes, strict=True)
        ),
        dtypes,
        tuple(
            DeclaredTensor(name, _axes(fake), numpy_name(_placed(fake.dtype, placement)))
            for name, fake in flatten(_fake_outputs(program))
        ),
        max_batch=_row_limit(program, fakes),
        writes_inputs=bool(writes),
        channels_last=placement.device == CPU,
    )


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a nested result by name: keys of dicts, "output0" … of a tuple, else "output".

    What is no tensor (None, numbers, texts) is left out.
    """
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        yield path or "output", value
        return
    if isinstance(value, Mapping):
        parts = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, tuple | list):
        fields = getattr(value, "_fields", None) or range(len(value))
        stem = "" if path or hasattr(value, "_fields") else "output"
        parts = [(f"{stem}{field}", item) for field, item in zip(fields, value, strict=True)]
    else:
        return
    for name, item in parts:
        yield from flatten(item, f"{path}.{name}" if path else name)


def numpy_name(dtype: Any) -> str:
    """Return numpy's name of the library's type; of what numpy has not, the one that it is widened to."""
    return "float32" if dtype == torch.bfloat16 else str(dtype).removeprefix("torch.")


def _open_script(path: Path, device: str, *, has_example: bool) -> Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the format: the file is what it is
        try:
            # Runs the example that torch.jit.trace left in the file, which tells the shapes.
            return torch.jit.load(str(path), map_location=device, _restore_shapes=has_example)
        except RuntimeError as exc:
            if not has_example:
                raise
            log.debug("the example in %s does not run: %s", path, exc)
            return torch.jit.load(str(path), map_location=device)


def _frozen(module: Module) -> Module:
    """Return the module with its weights as constants, which lets batch norms fold into convolutions.

    It is 1.2 to 1.4 times as fast (the default model's network, one picture, two threads, with and
    without channels last).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return torch.jit.freeze(module)
    except RuntimeError as exc:  # it writes to its own attributes
        log.debug("the module cannot be frozen: %s", exc)
        return module


def _script_inputs(path: Path, module: Module) -> list[str]:
    """Return the names of the inputs that have no default.

    Raises:
        ModelLoadError: one is no tensor.
    """
    arguments = [
        argument for argument in module.forward.schema.arguments[1:] if not argument.has_default_value()
    ]
    strange = [
        f"{argument.name} is {argument.type}" for argument in arguments if str(argument.type) != "Tensor"
    ]
    if strange or not arguments:
        raise ModelLoadError(
            f"{path}: only tensors are supported as inputs, but {', '.join(strange) or 'it takes none'}"
        )
    return [str(argument.name) for argument in arguments]


@dataclass(frozen=True, slots=True)
class _Traced:
    shape: tuple[int, ...]
    dtype: Any


def _traced_shapes(module: Module) -> dict[int, _Traced]:
    """Return the shapes of the example by index of the input; {} where the file holds none."""
    types = [value.type() for value in list(module.forward.graph.inputs())[1:]]
    return {
        index: _Traced(tuple(kind.sizes()), kind.dtype())
        for index, kind in enumerate(types)
        if kind.kind() == "TensorType" and kind.sizes() is not None and kind.dtype() is not None
    }


def _script_input(name: str, traced: _Traced | None, properties: Mapping[str, str]) -> DeclaredTensor:
    """Return an input as example and exporter describe it, with the batch axis open."""
    axes: tuple[Axis, ...] = UNKNOWN_IMAGE
    if traced is not None:
        axes = (BATCH, *traced.shape[1:]) if traced.shape else ()
    size = parse_image_size(properties.get("imgsz", ""))
    if axes == UNKNOWN_IMAGE and size is not None:
        channels = properties.get("channels", "3")
        axes = (BATCH, int(channels) if channels in {"1", "3"} else "channels", size[1], size[0])
    if len(axes) == len(UNKNOWN_IMAGE) and "'dynamic': True" in properties.get("args", ""):
        axes = (*axes[:2], *UNKNOWN_IMAGE[2:])
    return DeclaredTensor(name, axes, "float32")


def _placed(dtype: Any, placement: Placement) -> Any:
    return torch.float16 if placement.half and dtype in {torch.float32, torch.bfloat16} else dtype


def _fake_inputs(path: Path, program: Any, names: Sequence[str]) -> list[Tensor]:
    """Return stand-ins of the inputs, with open sizes as symbols.

    Raises:
        ModelLoadError: one is no tensor.
    """
    nodes = {node.name: node for node in program.graph.nodes}
    fakes = [nodes[name].meta.get("val") if name in nodes else None for name in names]
    strange = [name for name, fake in zip(names, fakes, strict=True) if not isinstance(fake, torch.Tensor)]
    if strange or not names:
        raise ModelLoadError(
            f"{path}: only tensors are supported as inputs: {', '.join(strange) or 'it takes none'}"
        )
    return fakes


def _fake_outputs(program: Any) -> Any:
    [result] = (node for node in program.graph.nodes if node.op == "output")
    tree = program.call_spec.out_spec
    leaves = result.args[0][len(result.args[0]) - tree.num_leaves :]  # buffers that it writes come first
    fakes = [leaf.meta.get("val") if isinstance(leaf, torch.fx.Node) else leaf for leaf in leaves]
    return torch.utils._pytree.tree_unflatten(fakes, tree)


def _exported_call(program: Any, placement: Placement) -> Callable[[Sequence[Tensor]], Any]:
    # Guards are Python in the file, which would be compiled; the adapter checks shapes itself.
    unguarded = {"check_guards": False} if "check_guards" in signature(program.module).parameters else {}
    module = program.module(**unguarded)
    if placement.half:
        module = module.half()
    if placement.device == CPU:
        module = module.to(memory_format=torch.channels_last)
    tree = program.call_spec.in_spec

    def call(tensors: Sequence[Tensor]) -> Any:
        arguments, named = torch.utils._pytree.tree_unflatten(list(tensors), tree)
        return module(*arguments, **named)

    return call


def _axes(fake: Tensor) -> tuple[Axis, ...]:
    """Return the sizes of a stand-in's axes, an open one by the name of its symbol."""
    return tuple(size if isinstance(size, int) else str(size) for size in fake.shape)


def _row_limit(program: Any, fakes: Sequence[Tensor]) -> int | None:
    """Return the most rows of a batch that the exporter allowed, None where any number."""
    limits = {str(symbol): limit.upper for symbol, limit in program.range_constraints.items()}
    rows = [limits[str(fake.shape[0])] for fake in fakes if fake.dim() and str(fake.shape[0]) in limits]
    return min((int(limit) for limit in rows if limit.is_Integer), default=None)
