"""How a model cache is connected to: gRPC, quiet and without surprises from the environment."""

import contextlib
import os
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

from model_files.extras import library
from model_files.model_cache_tls import credentials_of
from model_files.settings import ModelCacheSettings

if TYPE_CHECKING:
    import grpc

MAX_MESSAGE_BYTES = 16 << 20
"""Of one chunk with what is around it. gRPC's own limit is 4 MiB, and servers may be set up otherwise."""

_READ_AHEAD_BYTES = 4 << 20
"""What a server may send before it is asked for. As quick on loopback as gRPC's own way, which measures the
link, and a transfer takes 25 MB of memory in place of 50 to 100."""

_FRAME_BYTES = 1 << 20
"""Of HTTP/2: a chunk of the usual size is one frame, not sixteen."""

_KEEPALIVE_MS = 10_000
"""A machine that is gone shows after twice that, however long its chunks may be waited for."""

_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", _READ_AHEAD_BYTES),
    ("grpc.http2.max_frame_size", _FRAME_BYTES),
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", _KEEPALIVE_MS),
    # Attempts are counted, logged and spread by `download` alone.
    ("grpc.enable_retries", 0),
    # A connection that is shared would share its wait after a failure too.
    ("grpc.use_local_subchannel_pool", 1),
    # The target is what is connected to, whatever http_proxy says.
    ("grpc.enable_http_proxy", 0),
    # Nothing about the server is to be had from the DNS but its address.
    ("grpc.service_config_disable_resolution", 1),
)

_QUIET = {
    # Its log goes to stderr past ours, and all that it says of calls comes as an exception too.
    "GRPC_VERBOSITY": "NONE",
    # Processes are only ever spawned here; its handlers for forks can wait for threads in vain.
    "GRPC_ENABLE_FORK_SUPPORT": "0",
}
"""Environment that is set where the user has not, before the library is imported."""


def import_grpc() -> ModuleType:
    """Return gRPC.

    Raises:
        SourceFailedError: it is not installed.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    return library("grpc", "grpc")


def import_contract(name: str) -> ModuleType:
    """Return a generated module: "model_management_pb2".

    Raises:
        SourceFailedError: what it needs is not installed.
    """
    import_grpc()
    library("google.protobuf", "grpc")
    return library(f"protos.generated.{name}", "grpc")


@contextlib.contextmanager
def open_channel(settings: ModelCacheSettings) -> Iterator["grpc.Channel"]:
    """Give a channel of its own, which is closed in the end.

    Each attempt connects anew: a server that has been started again is found at once, certificates are
    read again, and between transfers no thread of the library wakes up.

    Raises:
        SourceFailedError: gRPC is not installed, or a file of the TLS settings cannot be read.
    """
    grpc = import_grpc()
    options = _OPTIONS
    if settings.target.startswith("unix:"):
        # It would be the socket's path, which Rust's HTTP/2 takes for a malformed request.
        options += (("grpc.default_authority", "localhost"),)
    if settings.tls is None:
        channel = grpc.insecure_channel(settings.target, options)
    else:
        if settings.tls.server_name is not None:
            options += (("grpc.ssl_target_name_override", settings.tls.server_name),)
        channel = grpc.secure_channel(settings.target, credentials_of(settings.tls, grpc), options)
    with channel:
        yield channel
