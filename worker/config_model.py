"""The keys of a model's configuration, as a frozen struct; see `config_structs`."""

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
from worker.config_keys import key
from worker.config_verify import VerifyConfig

RUNTIME_WORDS = ("auto", *sorted(KNOWN_RUNTIMES))


class PerformanceHint(StrEnum):
    """What a library that asks is told to tune for."""

    LATENCY = "latency"
    THROUGHPUT = "throughput"


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One slot's model."""

    path: str = key(
        "path",
        "",
        read.Text(),
        "The model: a path, relative ones from the worker's working directory, or a URI: `file:`, `hf:`,"
        " `modelcache:`, `http:`, `https:` or `s3:`, fetched once and kept as `provider` says."
        " `fake:NAME?key=value` is a double for tests and benches.",
        "Several slots may name the same file; each loads it by itself.",
        required=True,
    )
    sha256: str | None = key(
        "sha256",
        None,
        read.Text(),
        "The digest that the file must have, 64 hexadecimal digits. With another one the model is not"
        " loaded.",
        "Set it where the file comes over a network or may be replaced by others.",
        absent="the file is not checked",
    )
    runtime: str | None = key(
        "runtime",
        None,
        read.Text(RUNTIME_WORDS),
        "The runtime of this slot, in the words of the worker's `runtime`. An unknown name fails the slot"
        " alone.",
        "Set it where one model of several needs another runtime.",
        absent="the worker's `runtime`",
    )
    device: str = key(
        "device",
        "",
        read.Text(tuple(DEVICES)),
        "The device, in any case of letters. Where it cannot be had, and for an unknown name, the model"
        " runs on the CPU, and `deviceFallback` in its slot says why.",
        "Set it to use a GPU or another accelerator; `python -m worker doctor` tells which are usable.",
        absent="`cpu`",
    )
    input_size: tuple[int, int] | None = key(
        "inputSize",
        None,
        read.Size(),
        "The side, or [width, height], that pictures are prepared to, where the model leaves it open. A"
        " fixed input is used as it is, with a warning where it disagrees.",
        "Lower it for speed, raise it for small objects; use multiples of 32 with YOLO models.",
        absent="what the file recommends, else 640",
    )
    preprocess_mode: ResizeMode = key(
        "preprocessMode",
        ResizeMode.LETTERBOX,
        read.Choice(ResizeMode),
        "How a picture is fitted to the input: `letterbox` keeps the aspect ratio and pads the rest with"
        " grey, `resize` stretches.",
        "Take `resize` for models that were trained on stretched pictures.",
    )
    postprocessor: str = key(
        "postprocessor",
        "yolo",
        read.Text(tuple(POSTPROCESSORS)),
        "How outputs become results. `yolo` tells the family by itself and refuses a model where that is"
        " not clear; the others name the family; `raw` gives the tensors.",
        "Name the family where `yolo` refuses a model that you know; take `raw` for any other model.",
    )
    confidence: float = key(
        "confidence",
        0.25,
        read.Number(0.0, 1.0),
        "The lowest score that is reported, unless a request's option `confidence` says otherwise. 0 means"
        " the default here; in the option it is 0.",
        "Raise it against false findings, lower it where objects are missed.",
    )
    labels: tuple[str, ...] = key(
        "labels",
        (),
        read.Labels(),
        'Class names: a list by class id, or an object from class id to name, as `{"0": "person"}`.',
        "Set them where the file has none, or names that you want otherwise.",
        absent="the names in the file's metadata, if any",
    )
    intra_threads: int | None = key(
        "intraThreads",
        None,
        read.Integer(1),
        "Native threads of one predict call.",
        "Lower it to leave cores to other work; raise it beyond the default only by measurement.",
        unit="threads",
        absent="the cores shared among the slot's predict threads",
    )
    inter_threads: int | None = key(
        "interThreads",
        None,
        read.Integer(1),
        "Native threads across the branches of a graph.",
        "Set it for models with wide, independent branches, by measurement.",
        unit="threads",
        absent="the library's default",
    )
    spinning: bool | None = key(
        "spinning",
        None,
        read.Flag(),
        "Whether idle native threads burn their core for lower latency.",
        "Set it on a machine that is otherwise idle, where single answers must be as quick as can be.",
        absent="`false`",
    )
    performance_hint: PerformanceHint | None = key(
        "performanceHint",
        None,
        read.Choice(PerformanceHint),
        "What the runtime tunes for, where its library asks (OpenVINO): the time of one answer, or answers"
        " a second.",
        "Set it by measurement, where many requests are in flight or only ever one.",
        absent="the runtime decides by the slot's predict threads",
    )
    streams: int | None = key(
        "streams",
        None,
        read.Integer(1),
        "How many predict calls the device runs side by side, where its library asks (OpenVINO).",
        "Set it by measurement; `performanceHint` is the simpler way.",
        unit="calls",
        absent="the runtime decides by the slot's predict threads",
    )
    cache_dir: str | None = key(
        "cacheDir",
        None,
        read.Text(),
        "A folder that keeps what was compiled for the next load, where the library can (OpenVINO).",
        "Set it where loads take long, on a GPU or an NPU; the folder must be the worker's own.",
        absent="nothing is kept",
    )
    half: bool | None = key(
        "half",
        None,
        read.Flag(),
        "Whether a model in 32-bit floats is computed in 16-bit ones, where the runtime and the device can.",
        "Set it on GPUs for speed, and prove the results by `verify`.",
        absent="the runtime decides by the device",
    )
    max_queued: int | None = key(
        "maxQueued",
        None,
        read.Integer(1),
        "How many items may wait for this slot before they are prepared. A request beyond it is answered"
        " `overloaded` at once, whatever `overload` says; one is always taken when nothing waits.",
        "Set it where one slow model must not fill `maxInFlight` and so hold up the others.",
        unit="items",
        absent="the worker's limits alone hold",
    )
    idle_unload_ms: int | None = key(
        "idleUnloadMs",
        None,
        read.Integer(1),
        "A model that has had no request for so long is unloaded, and its memory goes back to the system."
        " The next request loads it again from its file and waits for it, as for any load.",
        "Set it for models that are needed now and then and may answer late the first time.",
        unit="milliseconds",
        absent="a model stays",
    )
    pinned: bool = key(
        "pinned",
        False,
        read.Flag(),
        "Whether the model is never unloaded by itself, neither by `idleUnloadMs` nor to make room under"
        " `limits.modelMemoryBytes`.",
        "Set it for models whose every answer must be quick.",
    )
    max_memory_bytes: int | None = key(
        "maxMemoryBytes",
        None,
        read.Integer(1),
        "The most by which the load of this model may grow the process. One that takes more fails its load"
        " with `too_large`. It is measured alone: other loads wait meanwhile.",
        "Set it where a file may be another one day than the one that was tried.",
        unit="bytes",
        absent="no bound",
    )
    verify: VerifyConfig | None = key(
        "verify",
        None,
        read.ObjectOf("verify"),
        "A picture that every load of this slot is proven on: it goes through the new model's own queue and"
        " threads, and what is expected must be found, else the load fails and says what was missing.",
        "Set it where a model is replaced while it is needed: the old one serves on until the new one has"
        " proven itself.",
        absent="a model that replaces another runs a drawn picture; others only warm up",
    )
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Keys that none of the above reads; a postprocessor may."""

    @property
    def ref(self) -> ModelRef:
        return ModelRef(self.path, self.sha256)
