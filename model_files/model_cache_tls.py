"""What is shown to a model cache over TLS, and what it must show: read and checked before gRPC gets it."""

import ssl
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from model_files.errors import SourceFailedError
from model_files.settings import TlsSettings

if TYPE_CHECKING:
    import grpc

_KEYS = "provider.modelcache.tls"


def credentials_of(tls: TlsSettings, library: ModuleType) -> "grpc.ChannelCredentials":
    """Return the credentials of a channel.

    Args:
        tls: paths of PEM files.
        library: gRPC.

    Raises:
        SourceFailedError: a file cannot be read, or is not what it should be. gRPC itself would end the
            process for some of it.
    """
    _check(tls)
    # Where the system has no such file, gRPC brings a list of its own.
    trusted = tls.ca or ssl.get_default_verify_paths().cafile
    credentials: grpc.ChannelCredentials = library.ssl_channel_credentials(
        root_certificates=_read(trusted), private_key=_read(tls.key), certificate_chain=_read(tls.cert)
    )
    return credentials


def _check(tls: TlsSettings) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if (tls.cert is None) != (tls.key is None):
        raise SourceFailedError(f"{_KEYS}: cert and key are of use together alone")
    try:
        for path in filter(None, (tls.ca, tls.cert, tls.key)):
            _read(path)
        if tls.ca is not None:
            context.load_verify_locations(tls.ca)
        if tls.cert is not None:
            # No password: it would be asked for on the terminal.
            context.load_cert_chain(tls.cert, tls.key, password="")
    except (ssl.SSLError, ValueError) as exc:
        raise SourceFailedError(f"{_KEYS}: the files are no certificates and key in PEM: {exc}") from exc


def _read(path: str | None) -> bytes | None:
    try:
        return None if path is None else Path(path).read_bytes()
    except OSError as exc:
        raise SourceFailedError(f"{_KEYS}: cannot read {path}: {exc.strerror}") from exc
