"""How the providers of one process are set up. Read once at the border, passed on, never changed."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

GIBI = 1024**3
APP = "inferpipe"


def default_cache_dir(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """Return INFERPIPE_CACHE, else the system's folder for caches with this application's name."""
    own = environment.get("INFERPIPE_CACHE")
    if own:
        return Path(own)
    try:
        home = Path.home()
    except RuntimeError:  # a user without an entry: what needs the cache then says that it cannot be used
        home = Path("/nonexistent")
    if platform == "win32":
        local = environment.get("LOCALAPPDATA")
        return (Path(local) if local else home / "AppData" / "Local") / APP / "cache"
    if platform == "darwin":
        return home / "Library" / "Caches" / APP
    shared = environment.get("XDG_CACHE_HOME")
    # The specification: a relative path there is to be ignored.
    return (Path(shared) if shared and shared.startswith("/") else home / ".cache") / APP


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """TLS towards a model cache: paths of PEM files. None is what the system trusts, and no certificate."""

    ca: str | None = None
    """Authorities to trust in place of the system's."""
    cert: str | None = None
    """The client's own certificate, where the server asks for one."""
    key: str | None = None
    """Its key."""
    server_name: str | None = None
    """The name that the server's certificate must have, where it is not the target's."""


@dataclass(frozen=True, slots=True)
class ModelCacheSettings:
    """`modelcache:` references: the gRPC server of a model cache."""

    target: str = "localhost:50052"
    """host:port, or unix:///path of a socket."""
    tls: TlsSettings | None = None
    """None is no TLS."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """`http:` and `https:` references."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent to the reference's own host alone; may hold secrets."""


@dataclass(frozen=True, slots=True)
class S3Settings:
    """`s3:` references. Credentials come from where the library looks for them."""

    endpoint: str | None = None
    """URL of the service; None is what the environment says, else Amazon's."""
    region: str | None = None
    anonymous: bool = False
    """Whether requests are sent unsigned, for buckets that all may read."""
    path_style: bool = False
    """Whether the bucket is named in the path in place of the host's name, as own servers often want."""


@dataclass(frozen=True, slots=True)
class HubSettings:
    """`hf:` references. The token comes from where the library looks for it."""

    endpoint: str | None = None
    """URL of the hub; None is what the environment says, else the public one."""


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """All of it; the defaults serve local files, and every scheme with its library's own environment."""

    default_scheme: str | None = None
    """The scheme of a relative path that no local file has; None leaves it a missing file."""
    cache_dir: Path = field(default_factory=default_cache_dir)
    """The folder of what has been fetched; made when first needed."""
    cache_bytes: int = 20 * GIBI
    """What may lie there; the least recently used goes first, and never what is in use."""
    max_file_bytes: int = 10 * GIBI
    """The largest file that is fetched."""
    retry_for_s: float = 60.0
    """Seconds for which a place that cannot be reached is tried again, counted from the last progress."""
    stall_s: float = 30.0
    """Seconds without a byte after which a transfer counts as broken off; also for a connection to open."""
    modelcache: ModelCacheSettings = field(default_factory=ModelCacheSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    s3: S3Settings = field(default_factory=S3Settings)
    hf: HubSettings = field(default_factory=HubSettings)
