"""The libraries that the doctor looks for: what is required, OpenCV, those of streams and of runtimes."""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, packages_distributions, version

from runtimes import ENTRY_POINT_GROUP, EXTRAS, RUNTIMES, get_runtime
from runtimes.errors import RuntimeUnavailableError
from worker.cli.checks import Check, absent, bad, good

REQUIRED = ("msgspec", "numpy")

STREAMS: Mapping[str, tuple[str, str, str]] = {
    "PyAV": ("av", "video", "no videos, no URLs, no H.264 or VP8 packets"),
    "mss": ("mss", "screen", "no screens"),
}
"""What streams need: name → module, extra, and what there is not without it."""

MODULES: Mapping[str, tuple[str, ...]] = {
    "onnxruntime": ("onnxruntime",),
    "openvino": ("openvino",),
    "litert": ("ai_edge_litert", "tflite_runtime"),
    "coreml": ("coremltools",),
    "torch": ("torch",),
}
"""Runtime → the modules that its adapter imports, the first that is there. Several distributions may
bring one."""

_ONLY_ON = {"coreml": ("darwin", "Core ML runs on macOS: here models are described, not run")}
"""Runtime → the platform that it predicts on, and what to say of it elsewhere."""

Owners = Mapping[str, Sequence[str]]
"""Module → distributions that bring it."""


def libraries() -> list[Check]:
    """Return what is required, OpenCV, and what streams need."""
    owners = packages_distributions()
    needed = [*map(_required, REQUIRED), _opencv(sorted(set(owners.get("cv2", ()))))]
    return needed + [_of_streams(name, *row) for name, row in STREAMS.items()]


def runtimes() -> list[Check]:
    """Return a line for each runtime that the protocol names, and for those of other distributions."""
    owners = packages_distributions()
    own = [_runtime(name, _owners_of(modules, owners)) for name, modules in MODULES.items()]
    return own + [
        _registered(entry) for entry in entry_points(group=ENTRY_POINT_GROUP) if entry.name not in RUNTIMES
    ]


def _owners_of(modules: Sequence[str], owners: Owners) -> list[str]:
    """Return the distributions that bring the first of some modules that any brings."""
    return next((sorted(set(owners[module])) for module in modules if module in owners), [])


def _required(name: str) -> Check:
    try:
        return good(name, version(name), needed=True)
    except PackageNotFoundError:
        return bad(name, "not installed", f"pip install {name}", needed=True)


def _opencv(owners: Sequence[str]) -> Check:
    if not owners:
        return bad("OpenCV", "not installed", "pip install 'inferpipe[opencv]'", needed=True)
    named = ", ".join(f"{owner} {version(owner)}" for owner in owners)
    if len(owners) > 1:
        # Removing any of them takes files from the others: all go, and one comes back.
        then = f"pip uninstall {' '.join(owners)}; pip install 'inferpipe[opencv]'"
        return bad("OpenCV", f"{len(owners)} distributions in one place: {named}", then, needed=True)
    try:
        import_module("cv2")
    except (ImportError, OSError) as error:  # OSError: a shared library that is missing
        then = "pip install --force-reinstall opencv-python-headless"
        return bad("OpenCV", f"{named}: {error}", then, needed=True)
    return good("OpenCV", named, needed=True)


def _of_streams(name: str, module: str, extra: str, lack: str) -> Check:
    install = f"pip install 'inferpipe[{extra}]'"
    try:
        found = import_module(module)
    except ModuleNotFoundError:
        return absent(name, f"not installed: {lack}", install)
    except (ImportError, OSError) as error:  # OSError: a shared library that is missing
        return bad(name, str(error), f"{install} --force-reinstall")
    return good(name, str(found.__version__))


def _runtime(name: str, owners: Sequence[str]) -> Check:
    install = f"pip install 'inferpipe[{EXTRAS[name]}]'"
    platform, elsewhere = _ONLY_ON.get(name, (sys.platform, ""))
    remark = f"; {elsewhere}" if sys.platform != platform else ""
    if not owners:
        return absent(name, f"not installed{remark}", install)
    named = ", ".join(f"{owner} {version(owner)}" for owner in owners)
    if len(owners) > 1:
        then = f"pip uninstall {' '.join(owners)}; {install}"
        return bad(name, f"{len(owners)} distributions in one place: {named}", then)
    if remark:
        return absent(name, named + remark)
    try:
        get_runtime(name)
    except RuntimeUnavailableError as error:
        return bad(name, str(error).partition("; pip install")[0], install)
    return good(name, named)


def _registered(entry: EntryPoint) -> Check:
    """Return a line about a runtime that another distribution brings."""
    named = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "another distribution"
    try:
        get_runtime(entry.name)
    except RuntimeUnavailableError as error:
        return bad(entry.name, str(error), f"see what {named} needs")
    return good(entry.name, named)
