"""Which remote names become paths on this machine, and how references are shown. Pure.

A name is refused wherever one system could take it for something else than a file inside its folder:
what one machine has fetched must be good on every other.
"""

import re

from model_files.errors import InvalidReferenceError

MAX_SEGMENT_BYTES = 255
"""What common file systems allow one name, in UTF-8."""
MAX_PATH_BYTES = 1024
"""Of a whole path below a model's folder: leaves room for the cache's own under every system's limit but
Windows' old one."""

_FORBIDDEN = frozenset('\\:<>"|?*')
"""Separators, drives and streams, and what Windows cannot have in a name."""
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])[ ]*(?:\..*)?", re.IGNORECASE)

# Two letters at least: C:\model.onnx is a path on a drive, not a URI.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_AUTHORITY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+://)[^/?#]*@")
_LOCAL_START = re.compile(r"[/\\]|\.{1,2}(?:[/\\]|$)|[A-Za-z]:|~")


def check_path(path: str) -> str:
    """Return a remote path as it is, when it names a file inside its folder on every system.

    Args:
        path: segments with "/" between them.

    Raises:
        InvalidReferenceError: it does not; the text says what is wrong with it.
    """
    if not path:
        raise InvalidReferenceError("the name of a remote file is empty")
    if not _is_short(path, MAX_PATH_BYTES):
        raise InvalidReferenceError(f"{_quoted(path)} is too long for a path: {MAX_PATH_BYTES} bytes at most")
    for segment in path.split("/"):
        fault = _fault_of(segment)
        if fault:
            raise InvalidReferenceError(f"{_quoted(path)} is no name of a remote file: {fault}")
    return path


def folder_of(path: str) -> str:
    """Return the folder part of a checked path, "" where it has none."""
    return path.rpartition("/")[0]


def beside(path: str, location: str) -> str:
    """Return the path of a file that another one names as lying beside it.

    Args:
        path: of the file that names it, checked.
        location: relative to that file's folder; "./" at its beginning says nothing.

    Raises:
        InvalidReferenceError: it leads elsewhere than into that folder.
    """
    folder = folder_of(path)
    name = check_path(location.removeprefix("./"))
    return check_path(f"{folder}/{name}" if folder else name)


def scheme_of(uri: str) -> str:
    """Return the scheme of a reference in lower case, "" for a plain path."""
    match = _SCHEME.match(uri)
    return match[1].lower() if match else ""


def is_always_local(uri: str) -> bool:
    """Whether a reference can be nothing but a path here: absolute, or written as one ("./model.onnx")."""
    return scheme_of(uri) == "" and (not uri or _LOCAL_START.match(uri) is not None)


def shown(uri: str) -> str:
    """Return a reference without what may be secret: user and password, query, fragment."""
    if "://" not in uri:
        return uri
    return re.split(r"[?#]", _AUTHORITY.sub(r"\1", uri, count=1), maxsplit=1)[0]


def file_name(uri: str) -> str:
    """Return a reference's last segment, which tells the kind of file; without query and revision."""
    if "://" not in uri:
        return uri
    name = shown(uri).rstrip("/").rpartition("/")[2]
    return name.partition("@")[0] if scheme_of(uri) == "hf" else name


def _fault_of(segment: str) -> str | None:
    """Return what is wrong with one name, None where nothing is."""
    if segment in {"", ".", ".."}:
        return 'it has an empty segment, "." or ".."'
    forbidden = sorted(_FORBIDDEN.intersection(segment))
    if forbidden:
        return f"it has {' '.join(forbidden)} in it"
    if not segment.isprintable():
        return "it has control characters, or others that cannot be printed"
    if segment[-1] in ". " or segment[0] == " ":
        return "a segment begins or ends with a space, or ends with a dot"
    if _DEVICE.fullmatch(segment):
        return f"{segment} is a device on Windows"
    return None if _is_short(segment, MAX_SEGMENT_BYTES) else f"a segment has over {MAX_SEGMENT_BYTES} bytes"


def _is_short(text: str, limit: int) -> bool:
    return len(text.encode("utf-8", "surrogatepass")) <= limit


def _quoted(path: str) -> str:
    """Return a name for an error's text: escaped, and not all of a long one."""
    text = ascii(path)
    return text if len(text) <= 100 else text[:97] + "..."
