"""What a model's files are, once they lie on a local disk."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Where a model is to be had from, as the configuration names it."""

    uri: str
    """A path, or a URI with a scheme that a provider is registered for."""
    sha256: str | None = None
    """Expected digest of the main file, in lower-case hex; checked where given."""


class Lease(Protocol):
    """Keeps fetched files in the cache until it is released, or nobody holds it any longer."""

    def release(self) -> None:
        """Keep nothing any longer; once more does nothing."""
        ...


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files of one model on the local disk."""

    path: Path
    """The main file (`.onnx`, `.xml`, `.tflite` …) or folder; companions lie beside it."""
    uri: str
    """The reference it was resolved from, as reports name it."""
    lease: Lease | None = field(default=None, repr=False, compare=False)
    """Keeps fetched files in the cache; None where nothing removes them."""

    def release(self) -> None:
        """Say that nobody reads the files any longer."""
        if self.lease is not None:
            self.lease.release()


class ModelFileProvider(Protocol):
    """Resolves references of one URI scheme. Errors: `model_files.errors.ModelFileError`."""

    def get_file(self, model_id: str, file_path: str) -> bytes:
        """Return the bytes of one file of a model."""
        ...

    def local_files(self, ref: ModelRef) -> ModelFiles:
        """Return the model's files as they lie on the local disk, companions included."""
        ...

    def list_files(self, model_id: str) -> tuple[str, ...] | None:
        """Return the paths in a model's folder, None where nothing can list them."""
        ...
