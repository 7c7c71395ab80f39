"""What `http:` and `https:` references name: a place, a folder, a file, and what of them is secret. Pure."""

import base64
import hashlib
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urljoin, urlsplit

from model_files.errors import InvalidReferenceError, SourceFailedError
from model_files.names import check_path, shown
from model_files.source import RemoteFile

DEFAULT_PORTS = {"http": 80, "https": 443}

_SEGMENT_SAFE = "!$&'()*+,;=:@~"
"""What stands for itself in a path's segment, beside letters and digits."""
_TARGET_SAFE = _SEGMENT_SAFE + "/%?"

_SIGNING = frozenset(
    {
        "access_token",
        "auth",
        "expires",
        "key-pair-id",
        "policy",
        "se",
        "sig",
        "signature",
        "skoid",
        "sktid",
        "ske",
    }
    | {"skt", "sks", "skv", "sp", "spr", "sr", "st", "sv", "token", "googleaccessid", "awsaccesskeyid"}
)
"""Parameters of signed links (CloudFront, S3, Azure, Google): another signature names the same file."""
_SIGNING_PREFIXES = ("x-amz-", "x-goog-")


@dataclass(frozen=True, slots=True)
class HttpFile(RemoteFile):
    """A file of an HTTP server, with what the reference says beyond its name.

    Files beside it are asked for by their own names: the query is the main file's.
    """

    main: str = ""
    """The path that `target` belongs to."""
    target: str = field(default="", repr=False, compare=False)
    """Path and query as the reference writes them; may hold a signature."""
    authorization: str | None = field(default=None, repr=False, compare=False)
    """What the reference's user and password become."""


@dataclass(frozen=True, slots=True)
class Url:
    """Where a request goes."""

    scheme: str
    host: str
    """In lower case, an IPv6 address in brackets."""
    port: int
    target: str = field(repr=False)
    """Path and query, encoded."""

    @property
    def place(self) -> str:
        """The server: its host, and its port where that is not the scheme's own."""
        return self.host if self.port == DEFAULT_PORTS[self.scheme] else f"{self.host}:{self.port}"

    @property
    def text(self) -> str:
        """All of it; may hold a signature."""
        return f"{self.scheme}://{self.place}{self.target}"

    def trusts(self, other: "Url") -> bool:
        """Whether what is meant for this URL's server may go to `other`: the same, or the same over TLS."""
        upgraded = (self.scheme, self.port, other.scheme, other.port) == ("http", 80, "https", 443)
        return self.host == other.host and (
            (self.scheme, self.port) == (other.scheme, other.port) or upgraded
        )


def locate(uri: str) -> HttpFile:
    """Read a reference.

    Raises:
        InvalidReferenceError: it is no URL of a file, or a name in it is refused.
    """
    parts = _split(uri)
    if parts.fragment:
        raise InvalidReferenceError(f"{shown(uri)} has a fragment: expected # in a name as %23")
    folder, _, name = parts.path.lstrip("/").rpartition("/")
    if not name:
        raise InvalidReferenceError(f"{shown(uri)} names a folder: expected the URL of a file")
    path = _decoded(name, uri)
    query = f"?{parts.query}" if parts.query else ""
    return HttpFile(
        scheme=parts.scheme,
        place=Url(parts.scheme, _host(parts), _port(parts), "").place,
        model_id="/".join(_decoded(segment, uri) for segment in folder.split("/")) if folder else "",
        path=path,
        revision=_identity(parts.query),
        main=path,
        target=quote(parts.path + query, safe=_TARGET_SAFE),
        authorization=_authorization(parts),
    )


def url_of(file: RemoteFile) -> Url:
    """Return the URL of a file: the reference's own for its main file, else made of the names."""
    parts = _split(f"{file.scheme}://{file.place}/")
    names = "/".join(filter(None, (file.model_id, file.path)))
    target = "/" + "/".join(quote(segment, safe=_SEGMENT_SAFE) for segment in names.split("/"))
    if isinstance(file, HttpFile) and file.path == file.main:
        target = file.target
    return Url(parts.scheme, _host(parts), _port(parts), target)


def redirected(url: Url, location: str) -> Url:
    """Return where a redirection leads.

    Raises:
        SourceFailedError: to no URL, from TLS to none, or to another scheme.
    """
    try:
        parts = _split(urljoin(url.text, location))
        host, port = _host(parts), _port(parts)
    except (InvalidReferenceError, ValueError):
        raise SourceFailedError("the server redirects to what is no URL") from None
    if url.scheme == "https" and parts.scheme != "https":
        raise SourceFailedError(f"the server redirects from https to {parts.scheme}: refused")
    query = f"?{parts.query}" if parts.query else ""
    return Url(parts.scheme, host, port, quote((parts.path or "/") + query, safe=_TARGET_SAFE))


def read_url(text: str) -> Url:
    """Return a whole URL in parts.

    Raises:
        InvalidReferenceError: it is no URL of http or https.
    """
    parts = _split(text)
    query = f"?{parts.query}" if parts.query else ""
    target = quote((parts.path or "/") + query, safe=_TARGET_SAFE)
    return Url(parts.scheme, _host(parts), _port(parts), target)


def _split(uri: str) -> SplitResult:
    """Return the parts, scheme and host checked."""
    try:
        parts = urlsplit(uri)
        port_is_good = parts.port != 0
    except ValueError:
        raise InvalidReferenceError(f"{shown(uri)!a} is no URL") from None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or not port_is_good:
        raise InvalidReferenceError(f"{shown(uri)!a} is no URL of http or https")
    return parts


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    try:
        host = host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        raise InvalidReferenceError(f"{host!a} is no name of a host") from None
    return f"[{host}]" if ":" in host else host


def _port(parts: SplitResult) -> int:
    return parts.port or DEFAULT_PORTS[parts.scheme]


def _decoded(segment: str, uri: str) -> str:
    """Return one segment of a path as a name."""
    try:
        name = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise InvalidReferenceError(f"{shown(uri)!a} has a name that is not UTF-8") from None
    if "/" in name:
        raise InvalidReferenceError(f"{shown(uri)!a} has a slash inside a name")
    return check_path(name)


def _identity(query: str) -> str | None:
    """Return what of a query tells one file from another, as a digest: None where all of it is a signature.

    The cache knows files by their names without queries. ?id=1 and ?id=2 must not be one file there, and a
    link that is signed anew must not be another.
    """
    said = sorted(
        pair for pair in parse_qsl(query, keep_blank_values=True) if not _is_signing(pair[0].lower())
    )
    if not said:
        return None
    return "query-" + hashlib.sha256(repr(said).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _is_signing(parameter: str) -> bool:
    return parameter in _SIGNING or parameter.startswith(_SIGNING_PREFIXES)


def _authorization(parts: SplitResult) -> str | None:
    if parts.username is None:
        return None
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
