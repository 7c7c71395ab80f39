"""The libraries that the doctor looks for: what is required, OpenCV, and one for each runtime."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, packages_distributions, version

from runtimes import EXTRAS, PLANNED_RUNTIMES, RUNTIMES, get_runtime
from runtimes.errors import RuntimeUnavailableError
from worker.cli.checks import Check, absent, bad, good

REQUIRED = ("msgspec", "numpy")

MODULES = {
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "litert": "ai_edge_litert",
    "coreml": "coremltools",
    "torch": "torch",
}
"""Runtime → the module that its adapter imports. Several distributions may bring it."""

Owners = Mapping[str, Sequence[str]]
"""Module → distributions that bring it."""


def libraries() -> list[Check]:
    """Return what is required, and OpenCV."""
    owners = packages_distributions()
    return [*map(_required, REQUIRED), _opencv(sorted(set(owners.get("cv2", ()))))]


def runtimes() -> list[Check]:
    """Return a line for each runtime that the protocol names."""
    owners = packages_distributions()
    return [_runtime(name, sorted(set(owners.get(module, ())))) for name, module in MODULES.items()]


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


def _runtime(name: str, owners: Sequence[str]) -> Check:
    named = ", ".join(f"{owner} {version(owner)}" for owner in owners)
    if name in PLANNED_RUNTIMES and name not in RUNTIMES:
        return absent(name, f"{named or 'not installed'}; this version does not use it")
    install = f"pip install 'inferpipe[{EXTRAS[name]}]'"
    if not owners:
        return absent(name, "not installed", install)
    if len(owners) > 1:
        then = f"pip uninstall {' '.join(owners)}; {install}"
        return bad(name, f"{len(owners)} distributions in one place: {named}", then)
    try:
        get_runtime(name)
    except RuntimeUnavailableError as error:
        return bad(name, str(error).partition("; pip install")[0], install)
    return good(name, named)
