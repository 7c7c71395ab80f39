"""Libraries that only some references need: imported when one asks, and named where they are missing."""

from importlib import import_module
from types import ModuleType

from model_files.errors import SourceFailedError


def library(name: str, extra: str) -> ModuleType:
    """Return an imported library.

    Args:
        name: of the module: "grpc", "boto3".
        extra: of this distribution, that brings it: "grpc", "s3".

    Raises:
        SourceFailedError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as exc:
        package = name.partition(".")[0]
        if exc.name is not None and exc.name.partition(".")[0] != package:
            raise SourceFailedError(f"{package} cannot be imported: {exc}") from exc
        raise SourceFailedError(
            f"{package} is not installed and this reference needs it: pip install 'inferpipe[{extra}]'"
        ) from exc
