"""The keys of `provider`: where models are fetched from, and where they are kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from model_files import SOURCES
from model_files.settings import (
    HttpSettings,
    HubSettings,
    ModelCacheSettings,
    ProviderSettings,
    S3Settings,
    TlsSettings,
    default_cache_dir,
)
from worker import config_readers as read
from worker.config_keys import key

_DEFAULTS = ProviderSettings(cache_dir=Path())
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Headers:
    """Reads an object from names to texts, which may be secret and are not shown in errors."""

    expected: ClassVar[str] = "an object from names of headers to texts"
    is_secret: ClassVar[bool] = True

    @property
    def schema(self) -> read.Schema:
        return {"type": "object", "additionalProperties": {"type": "string"}}

    def __call__(self, value: Any) -> Mapping[str, str]:
        if not isinstance(value, Mapping) or not all(isinstance(text, str) for text in value.values()):
            raise ValueError(self.expected)
        return dict(value)


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """TLS towards a model cache."""

    ca: str | None = key(
        "ca",
        None,
        read.Text(),
        "A PEM file of the authorities that are trusted in place of the system's.",
        "Set it where the server's certificate comes from an authority of your own.",
        absent="the system's authorities",
    )
    cert: str | None = key(
        "cert",
        None,
        read.Text(),
        "A PEM file of the worker's own certificate, and of those that lead from it to an authority.",
        "Set it, with `key`, where the server asks its clients for one.",
        absent="none is shown",
    )
    key_file: str | None = key(
        "key",
        None,
        read.Text(),
        "A PEM file of the key that belongs to `cert`.",
        "Set it with `cert`.",
        absent="none",
    )
    server_name: str | None = key(
        "serverName",
        None,
        read.Text(),
        "The name that the server's certificate must have.",
        "Set it where the server is reached by another name, as an address.",
        absent="the host in `target`",
    )


@dataclass(frozen=True, slots=True)
class ModelCacheConfig:
    """The model cache of `modelcache:` references."""

    target: str = key(
        "target",
        _DEFAULTS.modelcache.target,
        read.Text(),
        "The gRPC server: `host:port`, or `unix:///path` of a socket.",
        "Set it where the server does not listen on this machine's port 50052.",
    )
    tls: TlsConfig | None = key(
        "tls",
        None,
        read.ObjectOf("tls"),
        "TLS towards the server; an empty object means the defaults of its keys, and TLS.",
        "Set it wherever the server is on another machine.",
        absent="no TLS",
    )


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """HTTP servers of `http:` and `https:` references."""

    headers: Mapping[str, str] | None = key(
        "headers",
        None,
        Headers(),
        "Headers of every request, such as `Authorization`. They go to the host that a reference names and"
        " to no other, and appear in no log.",
        "Set them where servers ask for a token.",
        absent="none",
    )


@dataclass(frozen=True, slots=True)
class S3Config:
    """The service of `s3:` references."""

    endpoint: str | None = key(
        "endpoint",
        None,
        read.Text(),
        "The service's URL.",
        "Set it for a service other than Amazon's.",
        absent="what `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL` says, else Amazon's",
    )
    region: str | None = key(
        "region",
        None,
        read.Text(),
        "The region of the buckets.",
        "Set it where the environment does not.",
        absent="what the environment says",
    )
    anonymous: bool = key(
        "anonymous",
        False,
        read.Flag(),
        "Whether requests are sent unsigned. Otherwise credentials come from where AWS tools look for them.",
        "Set it for buckets that all may read.",
    )
    path_style: bool = key(
        "pathStyle",
        False,
        read.Flag(),
        "Whether the bucket is named in the path in place of the host's name.",
        "Set it where a service of your own has one name for all buckets.",
    )


@dataclass(frozen=True, slots=True)
class HubConfig:
    """The hub of `hf:` references."""

    endpoint: str | None = key(
        "endpoint",
        None,
        read.Text(),
        "The hub's URL. The token comes from where huggingface_hub looks for it.",
        "Set it for a mirror.",
        absent="what `HF_ENDPOINT` says, else the public hub",
    )


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """Where models come from, and the cache of those that are fetched."""

    default: str | None = key(
        "default",
        None,
        read.Text(tuple(SOURCES)),
        "The scheme of a relative `path` that has none and that no file here has: with `modelcache`,"
        " `owner/name/model.onnx` is `modelcache://owner/name/model.onnx`. Absolute paths, and those that"
        " begin with `./` or `../`, are always files here.",
        "Set it where all models come from one place.",
        absent="such a path is a missing file",
    )
    cache_dir: str | None = key(
        "cacheDir",
        None,
        read.Text(),
        "The folder of what has been fetched. Workers may share one, also with other users who can write it.",
        "Set it where the default lies on a disk that is small or does not last.",
        absent="`INFERPIPE_CACHE`, else the folder `inferpipe` where the system has caches",
    )
    cache_bytes: int = key(
        "cacheBytes",
        _DEFAULTS.cache_bytes,
        read.Integer(1),
        "What may lie in that folder. Beyond it the least recently used goes, and never what a worker uses.",
        "Set it by the disk, and above what is used at one time.",
        unit="bytes",
    )
    max_file_bytes: int = key(
        "maxFileBytes",
        _DEFAULTS.max_file_bytes,
        read.Integer(1),
        "The largest file that is fetched; the load of a larger one fails.",
        "Lower it where references come from people whom you do not know.",
        unit="bytes",
    )
    retry_for_s: float = key(
        "retryForS",
        _DEFAULTS.retry_for_s,
        read.Number(0.0, _DAY_S),
        "How long a place that cannot be reached or breaks off is tried again, counted from the last byte"
        " that came.",
        "Raise it where servers restart slowly; lower it where a load must fail soon.",
        unit="seconds",
    )
    stall_s: float = key(
        "stallS",
        _DEFAULTS.stall_s,
        read.Number(0.1, _DAY_S),
        "After how long without a byte a transfer counts as broken off. It bounds opening a connection"
        " too, and never a whole transfer.",
        "Raise it for places that take long to begin.",
        unit="seconds",
    )
    modelcache: ModelCacheConfig = key(
        "modelcache",
        ModelCacheConfig(),
        read.ObjectOf("modelcache"),
        "The gRPC server of `modelcache:` references.",
        "Name its address.",
        absent="the server at its own default",
    )
    http: HttpConfig = key(
        "http",
        HttpConfig(),
        read.ObjectOf("http"),
        "What `http:` and `https:` references are asked with.",
        "Name headers that your servers want.",
        absent="nothing of your own",
    )
    s3: S3Config = key(
        "s3",
        S3Config(),
        read.ObjectOf("s3"),
        "The service of `s3:` references.",
        "Name an endpoint that is not Amazon's.",
        absent="what the environment says",
    )
    hf: HubConfig = key(
        "hf",
        HubConfig(),
        read.ObjectOf("hf"),
        "The hub of `hf:` references.",
        "Name a mirror.",
        absent="what the environment says",
    )

    @property
    def settings(self) -> ProviderSettings:
        """The same for `model_files`."""
        tls = self.modelcache.tls
        return ProviderSettings(
            default_scheme=self.default,
            cache_dir=Path(self.cache_dir).expanduser() if self.cache_dir else default_cache_dir(),
            cache_bytes=self.cache_bytes,
            max_file_bytes=self.max_file_bytes,
            retry_for_s=self.retry_for_s,
            stall_s=self.stall_s,
            modelcache=ModelCacheSettings(
                self.modelcache.target,
                TlsSettings(tls.ca, tls.cert, tls.key_file, tls.server_name) if tls else None,
            ),
            http=HttpSettings(self.http.headers or {}),
            s3=S3Settings(self.s3.endpoint, self.s3.region, self.s3.anonymous, self.s3.path_style),
            hf=HubSettings(self.hf.endpoint),
        )


SECTIONS: dict[str, type[Any]] = {
    "provider": ProviderConfig,
    "modelcache": ModelCacheConfig,
    "tls": TlsConfig,
    "http": HttpConfig,
    "s3": S3Config,
    "hf": HubConfig,
}
"""The schema's name of an object → its struct."""
