"""The keys of the handshake's configuration, as frozen structs.

Each field carries its key on the wire, its reader and what a person has to know of it: one table
that parsing, the warnings about unknown keys, the JSON Schema and docs/configuration.md are made from.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from model_files.base import ModelRef
from postprocessors import POSTPROCESSORS
from preprocess.options import ResizeMode
from runtimes import KNOWN_RUNTIMES
from runtimes.onnx_devices import DEVICES
from worker import config_readers as read

MEBI = 1 << 20

RUNTIME_WORDS = ("auto", *sorted(KNOWN_RUNTIMES))


class BatchMode(StrEnum):
    """How requests for one model are put together; see docs/protocol.md."""

    NONE = "none"
    LIST = "list"
    WINDOW = "window"
    ADAPTIVE = "adaptive"


class Overload(StrEnum):
    """What happens to a request over a limit."""

    WAIT = "wait"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What is to be known of one key."""

    name: str
    """On the wire."""
    reader: read.Reader
    """Makes the field's value of the wire's."""
    text: str
    """What it decides."""
    change: str
    """When to set it."""
    unit: str
    """Of a number, "" where it has none."""
    absent: str
    """What holds without it, where the field's default alone does not tell."""
    required: bool
    """Whether there is no default."""


def key_info(entry: "dataclasses.Field[Any]") -> KeyInfo:
    """Return what a struct's field was declared with."""
    info: KeyInfo = entry.metadata["info"]
    return info


def _key(
    name: str,
    default: Any,
    reader: read.Reader,
    text: str,
    change: str,
    *,
    unit: str = "",
    absent: str = "",
    required: bool = False,
) -> Any:
    """Declare a configuration key; see `KeyInfo`."""
    info = KeyInfo(name, reader, text, change, unit, absent, required)
    return field(default=default, metadata={"key": name, "info": info})


@dataclass(frozen=True, slots=True)
class Limits:
    """What the worker takes on at once; echoed in the ready answer."""

    max_packet_bytes: int = _key(
        "maxPacketBytes",
        256 * MEBI,
        read.Integer(64),
        "The longest `length` of a packet. A longer one is passed over without being stored and answered"
        " `too_large` under its id; the connection lives on.",
        "Raise it for pictures or batches beyond it; lower it to bound what one request may take.",
        unit="bytes",
    )
    max_in_flight: int = _key(
        "maxInFlight",
        256,
        read.Integer(1),
        "How many data requests may be accepted and not yet answered; `overload` says what happens beyond"
        " it.",
        "Lower it where answers must be young: what waits in the worker only grows older.",
        unit="requests",
    )
    max_in_flight_bytes: int = _key(
        "maxInFlightBytes",
        1024 * MEBI,
        read.Integer(1),
        "How many payload bytes the accepted and not yet answered data requests may have together. One"
        " packet is always taken when nothing is in flight.",
        "Lower it on machines with little memory, above all with raw pictures.",
        unit="bytes",
    )
    max_pixels: int = _key(
        "maxPixels",
        64 * MEBI,
        read.Integer(1),
        "The largest picture, width times height. A larger one is `too_large`, which is told before it is"
        " decoded.",
        "Raise it for very large pictures; lower it where pictures come from strangers.",
        unit="pixels",
    )
    frame_cache_bytes: int = _key(
        "frameCacheBytes",
        0,
        read.Integer(1),
        "The budget of the frame cache: frames, their decoded pixels and tensors. What was used least"
        " recently goes first; a frame over the whole budget is `too_large`.",
        "Raise it where `frame_not_cached` comes for frames that are still wanted; lower it to save memory.",
        unit="bytes",
        absent="a quarter of the memory that the process may use",
    )
    overload: Overload = _key(
        "overload",
        Overload.WAIT,
        read.Choice(Overload),
        "What happens while `maxInFlight` or `maxInFlightBytes` is reached: `wait` stops reading, so that"
        " the host's writes wait; `reject` answers `overloaded` at once.",
        "Take `reject` for live pictures, of which a late one is worth nothing.",
    )
    drain_timeout_ms: int = _key(
        "drainTimeoutMs",
        10_000,
        read.Integer(1),
        "How long the end of the worker waits for what is in flight; what is left then is answered"
        " `shutting_down`.",
        "Raise it where every answer counts; lower it where the end must be quick.",
        unit="milliseconds",
    )

    def as_wire(self) -> dict[str, Any]:
        """Return the limits by their keys on the wire."""
        return {entry.metadata["key"]: getattr(self, entry.name) for entry in dataclasses.fields(self)}


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One slot's model."""

    path: str = _key(
        "path",
        "",
        read.Text(),
        "The model: a path, relative ones from the worker's working directory, or a `file:` URI."
        " `fake:NAME?key=value` is a double for tests and benches. The schemes `hf`, `modelcache`, `http`,"
        " `https` and `s3` are known and not served yet.",
        "Several slots may name the same file; each loads it by itself.",
        required=True,
    )
    sha256: str | None = _key(
        "sha256",
        None,
        read.Text(),
        "The digest that the file must have, 64 hexadecimal digits. With another one the model is not"
        " loaded.",
        "Set it where the file comes over a network or may be replaced by others.",
        absent="the file is not checked",
    )
    runtime: str | None = _key(
        "runtime",
        None,
        read.Text(RUNTIME_WORDS),
        "The runtime of this slot, in the words of the worker's `runtime`. An unknown name fails the slot"
        " alone.",
        "Set it where one model of several needs another runtime.",
        absent="the worker's `runtime`",
    )
    device: str = _key(
        "device",
        "",
        read.Text(tuple(DEVICES)),
        "The device, in any case of letters. Where it cannot be had, and for an unknown name, the model"
        " runs on the CPU, and `deviceFallback` in its slot says why.",
        "Set it to use a GPU or another accelerator; `python -m worker doctor` tells which are usable.",
        absent="`cpu`",
    )
    input_size: tuple[int, int] | None = _key(
        "inputSize",
        None,
        read.Size(),
        "The side, or [width, height], that pictures are prepared to, where the model leaves it open. A"
        " fixed input is used as it is, with a warning where it disagrees.",
        "Lower it for speed, raise it for small objects; use multiples of 32 with YOLO models.",
        absent="what the file recommends, else 640",
    )
    preprocess_mode: ResizeMode = _key(
        "preprocessMode",
        ResizeMode.LETTERBOX,
        read.Choice(ResizeMode),
        "How a picture is fitted to the input: `letterbox` keeps the aspect ratio and pads the rest with"
        " grey, `resize` stretches.",
        "Take `resize` for models that were trained on stretched pictures.",
    )
    postprocessor: str = _key(
        "postprocessor",
        "yolo",
        read.Text(tuple(POSTPROCESSORS)),
        "How outputs become results. `yolo` tells the family by itself and refuses a model where that is"
        " not clear; the others name the family; `raw` gives the tensors.",
        "Name the family where `yolo` refuses a model that you know; take `raw` for any other model.",
    )
    confidence: float = _key(
        "confidence",
        0.25,
        read.Number(0.0, 1.0),
        "The lowest score that is reported, unless a request's option `confidence` says otherwise. 0 means"
        " the default here; in the option it is 0.",
        "Raise it against false findings, lower it where objects are missed.",
    )
    labels: tuple[str, ...] = _key(
        "labels",
        (),
        read.Labels(),
        'Class names: a list by class id, or an object from class id to name, as `{"0": "person"}`.',
        "Set them where the file has none, or names that you want otherwise.",
        absent="the names in the file's metadata, if any",
    )
    intra_threads: int | None = _key(
        "intraThreads",
        None,
        read.Integer(1),
        "Native threads of one predict call.",
        "Lower it to leave cores to other work; raise it beyond the default only by measurement.",
        unit="threads",
        absent="the cores shared among the slot's predict threads",
    )
    inter_threads: int | None = _key(
        "interThreads",
        None,
        read.Integer(1),
        "Native threads across the branches of a graph.",
        "Set it for models with wide, independent branches, by measurement.",
        unit="threads",
        absent="the library's default",
    )
    spinning: bool | None = _key(
        "spinning",
        None,
        read.Flag(),
        "Whether idle native threads burn their core for lower latency.",
        "Set it on a machine that is otherwise idle, where single answers must be as quick as can be.",
        absent="`false`",
    )
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Keys that none of the above reads; a postprocessor may."""

    @property
    def ref(self) -> ModelRef:
        return ModelRef(self.path, self.sha256)


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """The whole handshake but its models, which are read one by one."""

    protocol: int = _key(
        "protocol",
        2,
        read.AsGiven(read.Integer(1)),
        "The highest version of the protocol that the host knows. 3 brings plain error objects, that never"
        " look like an empty result, and errors for excess bytes. Higher numbers mean 3.",
        "Set it to 3 in every new host.",
    )
    runtime: str = _key(
        "runtime",
        "coreml",
        read.Text(RUNTIME_WORDS),
        "The runtime of every slot that names none; `auto` goes by the kind of each model's file, `fake`"
        " is for tests. `coreml`, `litert`, `openvino` and `torch` are known and not served yet: their"
        " slots carry the error. An unknown name ends the process.",
        "Always set it, to `auto` or `onnxruntime`: the default is what hosts of version 2 expect.",
    )
    concurrency: int | None = _key(
        "concurrency",
        1,
        read.IntegerOrAuto(),
        "Predict threads of each slot, opened on first use, and how many predict calls run at once in the"
        ' whole process. `"auto"` is one a core, at most 8. The ready answer has it as `workers`.',
        "Raise it where many requests are in flight and cores are idle; 1 gives a single request all cores.",
        unit="threads",
    )
    batch_mode: BatchMode = _key(
        "batch_mode",
        BatchMode.NONE,
        read.ChoiceOr(BatchMode.NONE),
        "How items come into one predict call: `none`, each by itself; `list`, an INFER_BATCH is one call;"
        " `window`, single requests collect for `window_ms` too; `adaptive`, a free predict thread takes"
        " what is prepared, without a timer. The worker takes anything else for `none`.",
        "Take `adaptive` for many requests in flight, above all on a GPU; `list` for hosts that make"
        " batches.",
    )
    window_ms: float = _key(
        "window_ms",
        0.0,
        read.Number(0.0, 60_000.0),
        "How long a window collects, from its first request.",
        "Set it with `window`, to what a single request may be late.",
        unit="milliseconds",
    )
    max_batch_size: int | None = _key(
        "max_batch_size",
        None,
        read.Integer(1),
        "The most items of a batch that `window` or `adaptive` makes.",
        "Set it with `window`, which collects nothing without it; with `adaptive`, lower it for latency.",
        unit="items",
        absent="`1`; with `adaptive` what the model allows, at most 8",
    )
    models: tuple[Any, ...] = _key(
        "models",
        (),
        read.ListOf("model"),
        "One object a slot, in the order of the index by which requests name it, 0 to 255. One that cannot"
        " be read or loaded fails its slot alone.",
        "Name what is to be ready with the first answer; the commands `load` and `replace` bring more later.",
    )
    limits: Limits = _key(
        "limits",
        Limits(),
        read.ObjectOf("limits"),
        "What the worker takes on at once. The ready answer has those in effect.",
        "Name the limits that are to change; the others keep their defaults.",
        absent="every limit at its own default",
    )
    parent_pid: int | None = _key(
        "parentPid",
        None,
        read.Integer(1),
        "The id of a process whose end is the worker's too, beside its parent's. Not watched on Windows.",
        "Set it where something stands between the host and the worker, as a shell or a launcher.",
        absent="the parent alone is watched",
    )
