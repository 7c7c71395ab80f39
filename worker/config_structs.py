"""The keys of the handshake's configuration, as frozen structs; those of a model are in `config_model`.

Each field carries its key on the wire, its reader and what a person has to know of it: one table
that parsing, the warnings about unknown keys, the JSON Schema and docs/configuration.md are made from.
"""

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from worker import config_readers as read
from worker.config_keys import key
from worker.config_model import RUNTIME_WORDS
from worker.config_provider import ProviderConfig

MEBI = 1 << 20


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
class Limits:
    """What the worker takes on at once; echoed in the ready answer."""

    max_packet_bytes: int = key(
        "maxPacketBytes",
        256 * MEBI,
        read.Integer(64),
        "The longest `length` of a packet. A longer one is passed over without being stored and answered"
        " `too_large` under its id; the connection lives on.",
        "Raise it for pictures or batches beyond it; lower it to bound what one request may take.",
        unit="bytes",
    )
    max_in_flight: int = key(
        "maxInFlight",
        256,
        read.Integer(1),
        "How many data requests may be accepted and not yet answered; `overload` says what happens beyond"
        " it.",
        "Lower it where answers must be young: what waits in the worker only grows older.",
        unit="requests",
    )
    max_in_flight_bytes: int = key(
        "maxInFlightBytes",
        1024 * MEBI,
        read.Integer(1),
        "How many payload bytes the accepted and not yet answered data requests may have together. One"
        " packet is always taken when nothing is in flight.",
        "Lower it on machines with little memory, above all with raw pictures.",
        unit="bytes",
    )
    max_pixels: int = key(
        "maxPixels",
        64 * MEBI,
        read.Integer(1),
        "The largest picture, width times height. A larger one is `too_large`, which is told before it is"
        " decoded.",
        "Raise it for very large pictures; lower it where pictures come from strangers.",
        unit="pixels",
    )
    frame_cache_bytes: int = key(
        "frameCacheBytes",
        0,
        read.Integer(1),
        "The budget of the frame cache: frames, their decoded pixels and tensors. What was used least"
        " recently goes first; a frame over the whole budget is `too_large`.",
        "Raise it where `frame_not_cached` comes for frames that are still wanted; lower it to save memory.",
        unit="bytes",
        absent="a quarter of the memory that the process may use",
    )
    model_memory_bytes: int | None = key(
        "modelMemoryBytes",
        None,
        read.Integer(1),
        "The budget of all models together, each counted by what its load grew the process. When a load"
        " goes over it, models that are neither `pinned` nor busy are unloaded, the one first that has had"
        " no request for longest; their next request loads them again. Where that does not suffice, the"
        " load fails with `too_large`. The new model is measured first, so the process may be over the"
        " budget by one model for a moment.",
        "Set it where more models are configured than fit; the memory of requests and frames comes on top.",
        unit="bytes",
        absent="no budget",
    )
    overload: Overload = key(
        "overload",
        Overload.WAIT,
        read.Choice(Overload),
        "What happens while `maxInFlight` or `maxInFlightBytes` is reached: `wait` stops reading, so that"
        " the host's writes wait; `reject` answers `overloaded` at once.",
        "Take `reject` for live pictures, of which a late one is worth nothing.",
    )
    max_streams: int = key(
        "maxStreams",
        32,
        read.Integer(1),
        "How many streams may be open at once; each has a thread or two, and a few frames in memory. A"
        " stream beyond it is `overloaded`.",
        "Lower it on small machines, raise it where many slow cameras share one worker.",
        unit="streams",
    )
    stream_credit_bytes: int = key(
        "streamCreditBytes",
        16 * MEBI,
        read.Integer(64 * 1024),
        "How many bytes of STREAM_DATA the host of a `push` or `packets` stream may have under way: what the"
        " `opened` event grants.",
        "Raise it for raw frames of more than 4K; lower it where many hosts' streams share little memory.",
        unit="bytes",
    )
    stream_buffer_bytes: int = key(
        "streamBufferBytes",
        4096 * MEBI,
        read.Integer(1024 * 1024),
        "How much of one `push` stream may lie on the disk: a file whose index is at its end lies there"
        " whole, of all others what has been decoded is given back where the file system can. A stream"
        " beyond it ends with `too_large`.",
        "Raise it for long uploads whose index is at the end; lower it where the disk is small.",
        unit="bytes",
    )
    drain_timeout_ms: int = key(
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
class MetricsConfig:
    """Where metrics are served beside the command."""

    port: int | None = key(
        "port",
        None,
        read.Integer(1, 65_535),
        "The port at which `GET /metrics` answers in Prometheus text, on 127.0.0.1 alone. It needs the extra"
        " `metrics`. Where it cannot be served, a warning in the ready answer says why.",
        "Set it where something on this machine scrapes; a host that asks by command needs none.",
        absent="nothing listens",
    )


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """The whole handshake but its models, which are read one by one."""

    protocol: int = key(
        "protocol",
        2,
        read.AsGiven(read.Integer(1)),
        "The highest version of the protocol that the host knows. 3 brings plain error objects, that never"
        " look like an empty result, and errors for excess bytes. Higher numbers mean 3.",
        "Set it to 3 in every new host.",
    )
    runtime: str = key(
        "runtime",
        "coreml",
        read.Text(RUNTIME_WORDS),
        "The runtime of every slot that names none; `auto` goes by the kind of each model's file, `fake`"
        " is for tests. Where a runtime's library is not installed, its slots carry the error and the command"
        " that installs it. An unknown name ends the process.",
        "Always set it, to `auto` or `onnxruntime`: the default is what hosts of version 2 expect.",
    )
    concurrency: int | None = key(
        "concurrency",
        1,
        read.IntegerOrAuto(),
        "Predict threads of each slot, opened on first use, and how many predict calls run at once in the"
        ' whole process. `"auto"` is one a core, at most 8. The ready answer has it as `workers`.',
        "Raise it where many requests are in flight and cores are idle; 1 gives a single request all cores.",
        unit="threads",
    )
    batch_mode: BatchMode = key(
        "batch_mode",
        BatchMode.NONE,
        read.ChoiceOr(BatchMode.NONE),
        "How items come into one predict call: `none`, each by itself; `list`, an INFER_BATCH is one call;"
        " `window`, single requests collect for `window_ms` too; `adaptive`, a free predict thread takes"
        " what is prepared, without a timer. The worker takes anything else for `none`.",
        "Take `adaptive` for many requests in flight, above all on a GPU; `list` for hosts that make"
        " batches.",
    )
    window_ms: float = key(
        "window_ms",
        0.0,
        read.Number(0.0, 60_000.0),
        "How long a window collects, from its first request.",
        "Set it with `window`, to what a single request may be late.",
        unit="milliseconds",
    )
    max_batch_size: int | None = key(
        "max_batch_size",
        None,
        read.Integer(1),
        "The most items of a batch that `window` or `adaptive` makes.",
        "Set it with `window`, which collects nothing without it; with `adaptive`, lower it for latency.",
        unit="items",
        absent="`1`; with `adaptive` what the model allows, at most 8",
    )
    models: tuple[Any, ...] = key(
        "models",
        (),
        read.ListOf("model"),
        "One object a slot, in the order of the index by which requests name it, 0 to 255. One that cannot"
        " be read or loaded fails its slot alone.",
        "Name what is to be ready with the first answer; the commands `load` and `replace` bring more later.",
    )
    stream_dir: str | None = key(
        "streamDir",
        None,
        read.Text(),
        "The folder in which `push` streams keep what has come. It gets a folder for this user alone, in"
        " which files of workers that were killed are removed by the next one.",
        "Set it where the system's folder for temporary files is small or lies in memory.",
        absent="the system's folder for temporary files",
    )
    limits: Limits = key(
        "limits",
        Limits(),
        read.ObjectOf("limits"),
        "What the worker takes on at once. The ready answer has those in effect.",
        "Name the limits that are to change; the others keep their defaults.",
        absent="every limit at its own default",
    )
    metrics: MetricsConfig = key(
        "metrics",
        MetricsConfig(),
        read.ObjectOf("metrics"),
        "Where metrics are served beside the command `metrics`.",
        "Name a port to have them scraped.",
        absent="the command alone",
    )
    provider: ProviderConfig = key(
        "provider",
        ProviderConfig(),
        read.ObjectOf("provider"),
        "Where models come from that are no files here, and the cache of those that have been fetched.",
        "Name what is other than the defaults; references with a scheme work without it.",
        absent="every key at its own default",
    )
    parent_pid: int | None = key(
        "parentPid",
        None,
        read.Integer(1),
        "The id of a process whose end is the worker's too, beside its parent's. Not watched on Windows.",
        "Set it where something stands between the host and the worker, as a shell or a launcher.",
        absent="the parent alone is watched",
    )
